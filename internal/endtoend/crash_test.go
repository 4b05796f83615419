package endtoend

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// points are where a server can die with a call, in their order. What has passed one point has passed those before it.
var points = []string{
	"delivered", "validated", "claimed", "entered", "applied", "stored", "published", "confirmed", "acked",
}

// mostEffects is what each store promises: how often a call may take effect if its first server dies at the point, and
// its request is served again.
func mostEffects(store, point string) int {
	applied, stored := at("applied"), at("stored")
	switch i := at(point); {
	case store == "postgres", i < applied:
		return 1
	case store == "bolt" && i >= stored:
		return 1
	}
	return 2
}

func at(point string) int {
	for i, p := range points {
		if p == point {
			return i
		}
	}
	panic(point)
}

// stores makes, for each store, what its server processes are to be.
func stores(t *testing.T, url string) []spec {
	t.Helper()
	dir, database := t.TempDir(), testpostgres.URL(t)
	makeLedger(t, database)
	return []spec{
		{URL: url, Ledger: filepath.Join(dir, "lru"), Store: "lru"},
		{URL: url, Ledger: filepath.Join(dir, "bolt"), Store: "bolt", File: filepath.Join(dir, "bolt.db")},
		{URL: url, Database: database, Store: "postgres"},
	}
}

// made is a call that is under way.
type made struct {
	reply string
	err   error
}

// A server is killed at each point of a call. The next server takes over, the caller gets its answer, and the effects are
// as many as the store promises; who asks again gets the same bytes, unless the store was lost with its process.
func TestKilledAtEachPoint(t *testing.T) {
	url := testbroker.URL(t)
	m := open(t, url)
	for _, sp := range stores(t, url) {
		t.Run(sp.Store, func(t *testing.T) {
			t.Parallel() // what takes the time is to start processes
			sp.Service = service(t, m).Service
			method := rpc.Method[string, string]{Service: sp.Service, Name: "effect"}
			c := newClient(t, m, client.WithName("caller"), client.WaitForServer(), client.WithTimeout(30*time.Second), client.WithoutBreaker())
			for _, point := range points {
				total := 0
				for i := range times(t, 1) {
					id := fmt.Sprintf("%s-%d", point, i)
					first, second, effects := killedAt(t, sp, c, method, point, id)
					if first != second && sp.Store != "lru" {
						t.Errorf("%s: replies %q and %q, want the same", id, first, second)
					}
					if effects < 1 || effects > mostEffects(sp.Store, point) {
						t.Errorf("%s: %d effects, want 1 to %d", id, effects, mostEffects(sp.Store, point))
					}
					total += effects
				}
				t.Logf("%-9s killed %d times: %d effects", point, times(t, 1), total)
			}
		})
	}
}

// killedAt makes a call whose first server dies at the point, and asks again.
func killedAt(t *testing.T, sp spec, c *client.Client, method rpc.Method[string, string], point, id string) (first, second string, effects int) {
	t.Helper()
	armed := sp
	armed.Failpoints = point + "=kill"
	victim := start(t, armed)
	done := make(chan made, 1)
	ask := func() {
		reply, err := client.Call(t.Context(), c, method, id, client.WithCallID(id))
		done <- made{reply, err}
	}
	go ask()
	victim.wait()
	if victim.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s: server process ended with %v, want killed", id, victim.err)
	}
	next := start(t, sp)
	one := <-done
	go ask()
	two := <-done
	next.stop() // what was given back to it has ended then
	if one.err != nil || two.err != nil {
		t.Fatalf("%s: %v, asked again: %v", id, one.err, two.err)
	}
	return one.reply, two.reply, len(sp.effects(t, id))
}
