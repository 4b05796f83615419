//go:build unix

package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

// disk is a store that has a file for each call, which processes share, one at a time. With effects it is one in which
// effect and record are one write.
type disk struct {
	dir     string
	how     string // it is broken, or ""
	effects bool
}

const lease = 300 * time.Millisecond

type onDisk struct {
	Fence   uint64
	Claims  int
	Expires time.Time
	Record  *idempotency.Record
	Effects int
}

// update changes the file of a call as f says, unless that fails.
func (d *disk) update(id string, f func(*onDisk) error) error {
	path := filepath.Join(d.dir, id)
	lock, err := os.Create(path + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	var o onDisk
	if text, err := os.ReadFile(path); err == nil { // else it is new
		if err := json.Unmarshal(text, &o); err != nil {
			return err
		}
	}
	if err := f(&o); err != nil {
		return err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (d *disk) Begin(_ context.Context, k idempotency.Key, _ idempotency.Fingerprint) (begun idempotency.Begun, err error) {
	err = d.update(k.ID, func(o *onDisk) error {
		switch {
		case o.Record != nil && d.how != "forgets":
			begun = idempotency.Begun{State: idempotency.Done, Record: o.Record}
			return nil
		case o.Claims > 0 && time.Now().Before(o.Expires):
			begun = idempotency.Begun{State: idempotency.InFlight}
			return nil
		case o.Claims > 0 && !d.effects && d.how != "forgets claims":
			begun.State = idempotency.Orphaned
		default:
			begun.State = idempotency.New
			o.Claims = 0
		}
		o.Claims++
		o.Fence++
		o.Expires = time.Now().Add(lease)
		begun.Token, begun.Claims = idempotency.Token{Key: k, Fence: o.Fence}, o.Claims
		return nil
	})
	if d.how == "counts wrong" {
		begun.Claims++
	}
	return begun, err
}

func (d *disk) Complete(_ context.Context, token idempotency.Token, r *idempotency.Record) error {
	if d.how == "records later" {
		return nil
	}
	return d.update(token.Key.ID, func(o *onDisk) error {
		if o.Fence != token.Fence && d.how != "does not fence" {
			return idempotency.ErrLost
		}
		o.Record = r.Clone()
		if d.effects {
			o.Effects++
		}
		return nil
	})
}

func (d *disk) Abandon(context.Context, idempotency.Token) error { return errors.ErrUnsupported }

// crash is what the store promises, or does not keep if it is broken.
func crash(how string, effects bool) Crash {
	c := Crash{
		Survives:  Outcomes,
		TakesOver: lease,
		Open:      func(place string) (idempotency.Store, error) { return &disk{place, how, effects}, nil },
	}
	if effects {
		c.Survives = Effects
	}
	if effects && how != "makes effects at once" {
		c.Apply = func(context.Context, string) error { return nil }
		c.Count = func(t *testing.T, place, id string) int {
			var o onDisk
			if err := (&disk{dir: place}).update(id, func(now *onDisk) error { o = *now; return nil }); err != nil {
				t.Fatal(err)
			}
			return o.Effects
		}
	}
	if how == "promises nothing" {
		c.Survives, c.TakesOver = Nothing, 0
	}
	if how == "cannot be opened" {
		c.Open = func(string) (idempotency.Store, error) { return nil, errors.New("no such place") }
	}
	return c
}

func TestRunCrashOutcomes(t *testing.T) { RunCrash(t, crash("", false)) }

func TestRunCrashEffects(t *testing.T) { RunCrash(t, crash("", true)) }

// TestBrokenOutcomes is for processes whose store is broken.
func TestBrokenOutcomes(t *testing.T) {
	how, ok := os.LookupEnv(brokenEnv)
	if !ok {
		t.Skip("is run by others")
	}
	RunCrash(t, crash(how, false))
}

// TestBrokenEffects is for processes whose store is broken.
func TestBrokenEffects(t *testing.T) {
	how, ok := os.LookupEnv(brokenEnv)
	if !ok {
		t.Skip("is run by others")
	}
	RunCrash(t, crash(how, true))
}

func TestRunCrashFinds(t *testing.T) {
	for _, tt := range []struct {
		test, how string
		cases     []string
	}{
		{"TestBrokenOutcomes", "forgets", []string{"killed stored", "killed among many applied", "at most once, killed stored", "frozen stored"}},
		{"TestBrokenOutcomes", "forgets claims", []string{"at most once, killed claimed", "at most once, killed among many applied"}},
		{"TestBrokenOutcomes", "counts wrong", []string{"killed claimed"}},
		{"TestBrokenOutcomes", "does not fence", []string{"frozen claimed", "frozen entered", "frozen applied"}},
		{"TestBrokenOutcomes", "records later", []string{"killed claimed", "killed stored", "killed among many claimed"}},
		{"TestBrokenOutcomes", "promises nothing", []string{"killed stored"}},
		{"TestBrokenOutcomes", "cannot be opened", []string{"killed claimed"}},
		{"TestBrokenEffects", "makes effects at once", []string{"killed applied", "killed among many applied", "frozen applied"}},
	} {
		t.Run(fmt.Sprintf("%s %s", tt.test, tt.how), func(t *testing.T) {
			t.Parallel()
			wantFailures(t, tt.test, tt.how, tt.cases...)
		})
	}
}
