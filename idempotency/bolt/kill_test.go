package bolt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

const prefixEnv = "RABBITRPC_BOLT_PREFIX"

// childLoad begins and completes calls until it is killed, and prints what has returned.
func childLoad(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	for worker := range 16 {
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := loadOne(s, fmt.Sprintf("%s-%d-%d", os.Getenv(prefixEnv), worker, n)); err != nil {
					select {
					case failed <- err:
					default:
					}
					return
				}
			}
		})
	}
	wg.Wait()
	return <-failed
}

func loadOne(s *Store, id string) error {
	ctx := context.Background()
	begun, err := s.Begin(ctx, idempotency.Key{ID: id}, fingerprint)
	if err != nil || begun.State != idempotency.New {
		return fmt.Errorf("Begin(%s) = state %d, %w", id, begun.State, err)
	}
	fmt.Printf("began %s %d\n", id, begun.Token.Fence)
	record := reply(0)
	record.Reply.Body = []byte("reply of " + id + strings.Repeat("x", rand.N(5000)))
	if err := s.Complete(ctx, begun.Token, record); err != nil {
		return err
	}
	fmt.Printf("completed %s %x\n", id, record.Reply.Body)
	return nil
}

// What had returned when the process was killed, at any moment, is there.
func TestKilledUnderLoad(t *testing.T) {
	path := newFile(t)
	fences := map[string]string{} // to call
	completed := map[string]string{}
	for round := range 20 {
		began := map[string]bool{}
		for _, line := range loadUntilKilled(t, path, round) {
			var did, id, what string
			if _, err := fmt.Sscan(line, &did, &id, &what); err != nil {
				t.Fatalf("round %d: %q: %v", round, line, err)
			}
			if did == "completed" {
				completed[id] = what
				delete(began, id)
				continue
			}
			if fences[what] != "" {
				t.Errorf("fence %s of %s for %s too", what, fences[what], id)
			}
			fences[what] = id
			began[id] = true
		}
		s := open(t, path)
		for id := range began {
			begun, err := s.Begin(t.Context(), idempotency.Key{ID: id}, fingerprint)
			// Its outcome may be stored, and the process killed before it could say so.
			if err != nil || begun.State != idempotency.Orphaned && begun.State != idempotency.Done {
				t.Errorf("round %d: %s ran, and is in state %d, %v", round, id, begun.State, err)
			}
			if begun.State == idempotency.Orphaned && begun.Claims != 2 {
				t.Errorf("round %d: %s has %d claims, want 2", round, id, begun.Claims)
			}
		}
		for id, body := range completed {
			begun, err := s.Begin(t.Context(), idempotency.Key{ID: id}, fingerprint)
			if err != nil || begun.State != idempotency.Done || fmt.Sprintf("%x", begun.Record.Reply.Body) != body {
				t.Errorf("round %d: %s was completed, and is in state %d, %v", round, id, begun.State, err)
			}
		}
		s.close()
	}
	if len(completed) < 20 {
		t.Errorf("%d calls completed: that proves little", len(completed))
	}
}

// loadUntilKilled returns the whole lines that a process printed which was killed at some moment.
func loadUntilKilled(t *testing.T, path string, round int) []string {
	t.Helper()
	cmd, out, _ := startChild(t, "load", path, fmt.Sprintf("%s=%d", prefixEnv, round))
	first, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	var rest bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&rest, out)
	}()
	time.Sleep(rand.N(150 * time.Millisecond))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-read
	_ = cmd.Wait()
	lines := strings.SplitAfter(first+rest.String(), "\n")
	return lines[:len(lines)-1]
}
