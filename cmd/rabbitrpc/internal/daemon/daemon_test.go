package daemon_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestServesAll(t *testing.T) {
	c := caller(t, "all-a", "all-b")
	r := up(t, `services: [{name: all-a, kind: worker, answer: a}, {name: all-b, kind: worker, answer: b, dedupe: {store: bolt, path: `+
		filepath.Join(t.TempDir(), "b.db")+`}}]`)
	for service, want := range map[string]string{"all-a": "a", "all-b": "b"} {
		if got, _, err := call(t, c, service, "work", ""); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", service, got, err, want)
		}
	}
	for _, s := range r.daemon.Services() {
		if !s.Ready || s.Stats.Answered != 1 {
			t.Errorf("got %+v, want it ready, with one call", s)
		}
	}
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

// TestOneFails: a service that cannot be served ends all, with the reason.
func TestOneFails(t *testing.T) {
	caller(t, "fails-a", "fails-b")
	first := up(t, `services: [{name: fails-b, kind: worker}]`)
	first.stop()
	must(t, first.ended())
	r := start(t, `services: [{name: fails-a, kind: worker}, {name: fails-b, kind: worker, max_queue: 5}]`)
	err := r.ended()
	if err == nil || !strings.Contains(err.Error(), "service fails-b: declare queue rabbitrpc.fails-b") {
		t.Errorf("got %v, want the service, and its queue", err)
	}
}

func TestNoStore(t *testing.T) {
	r := start(t, `services: [{name: store-a, kind: worker}, {name: store-b, kind: worker, dedupe: {store: bolt, path: /nowhere/b.db}}]`)
	if err := r.ended(); err == nil || !strings.Contains(err.Error(), "service store-b: open its store: ") {
		t.Errorf("got %v, want the service, and its store", err)
	}
}

func TestDrainTooLong(t *testing.T) {
	c := caller(t, "long")
	r := up(t, `services: [{name: long, kind: worker, drain: 50ms}]`)
	go c.Do(t.Context(), &rpc.Request{Service: "long", Method: "hang", ContentType: rpc.ContentTypeText}) //nolint:errcheck // never answered
	r.until("it runs", func() bool { return r.daemon.Services()[0].Stats.Running == 1 })
	r.stop()
	err := r.ended()
	if err == nil || !strings.Contains(err.Error(), "service long: drain: 1 requests were not answered within 50ms") {
		t.Errorf("got %v, want the service, and how many calls", err)
	}
	close(r.release)
}

// load calls services until it is stopped, and returns how many calls were answered, and each error.
func load(t *testing.T, c *client.Client, services ...string) (stop func() (calls int, errs []error)) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards what stop returns
	var calls int
	var errs []error
	over := make(chan struct{})
	for i := range 8 {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				_, _, err := call(t, c, services[i%len(services)], "work", "")
				mu.Lock()
				if calls++; err != nil && len(errs) < 10 {
					errs = append(errs, fmt.Errorf("%s: %w", services[i%len(services)], err))
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []error) { close(over); wg.Wait(); return calls, errs }
}
