package simulation

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/storetest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// TestSimulation lives through seeds. Each is a subtest, to be run alone by its name. RABBITRPC_SEEDS says how many there
// are. They run at the same time, or, with -parallel 1, one after the other in their order.
func TestSimulation(t *testing.T) {
	seeds := uint64(1000)
	if s := os.Getenv("RABBITRPC_SEEDS"); s != "" {
		var err error
		if seeds, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	total := &totals{}
	t.Cleanup(func() { total.check(t, seeds) })
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			if flag.Lookup("test.parallel").Value.String() != "1" {
				t.Parallel()
			}
			synctest.Test(t, func(t *testing.T) {
				w := live(newPlan(seed))
				total.add(w)
				if len(w.violations) == 0 {
					return
				}
				for _, v := range w.violations {
					t.Errorf("seed %d: %s", seed, v)
				}
				t.Logf("go test ./internal/simulation -run '%s$' -count 100\n%v\n%s", t.Name(), w.plan, w.history())
			})
		})
	}
}

// totals are the sums of what happened in all worlds.
type totals struct {
	mu sync.Mutex // guards n
	n  map[string]uint64
}

func (t *totals) add(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = make(map[string]uint64)
	}
	for name, n := range w.counts {
		t.n[name] += n
	}
	for _, o := range w.outcomes {
		t.n["calls"]++
		if o.ok() {
			t.n["calls that were ok"]++
		} else {
			t.n["calls that ended with executed "+rpc.Executed(o.err).String()]++
		}
	}
	for _, x := range w.bank.runs {
		t.n["runs"]++
		if !x.applied.IsZero() {
			t.n["effects"]++
		}
	}
	for _, g := range w.groups() {
		if len(g.runs) > 1 {
			t.n["calls with several effects"]++
		}
	}
	t.n["claims taken over"] += uint64(w.shared.took)
}

// check fails if the faults did not bite: then nothing was shown.
func (t *totals) check(test *testing.T, seeds uint64) {
	for _, name := range slices.Sorted(maps.Keys(t.n)) {
		test.Logf("%8d %s", t.n[name], name)
	}
	if seeds < 500 || test.Failed() {
		return
	}
	for _, name := range []string{
		"calls that were ok", "calls that ended with executed no", "calls that ended with executed yes",
		"calls that ended with executed unknown", "calls with several effects", "claims taken over", "late replies", "requests bounced",
		"requests sent again", "requests expired", "replies replayed",
	} {
		if t.n[name] == 0 {
			test.Errorf("I20: no %s: the faults did not bite", name)
		}
	}
}

// A plan depends on its seed alone.
func TestPlan(t *testing.T) {
	seen := make(map[string]uint64)
	for seed := range uint64(100) {
		plan := newPlan(seed).String()
		if plan != newPlan(seed).String() {
			t.Errorf("seed %d has two plans", seed)
		}
		if other, taken := seen[plan]; taken {
			t.Errorf("seeds %d and %d have one plan", other, seed)
		}
		seen[plan] = seed
	}
}

// With one caller, one server and no fault nothing is left to the scheduler or to chance, and a seed has one history.
func TestSameHistory(t *testing.T) {
	for seed := range uint64(20) {
		var histories [2]string
		for i := range histories {
			synctest.Test(t, func(t *testing.T) {
				p := newPlan(seed)
				p.faults, p.callers, p.servers = nil, p.callers[:1], 1
				for _, a := range p.callers[0] {
					a.noRetry = true // a retry comes after a random pause
				}
				w := live(p)
				for _, v := range w.violations {
					t.Errorf("seed %d: %s", seed, v)
				}
				for _, o := range w.outcomes {
					if o.n < firstOfEpilogue {
						histories[i] += fmt.Sprintln(o.start.Sub(w.began), o.end.Sub(w.began), o.ask, o.receipt, o.err)
					}
				}
			})
		}
		if histories[0] != histories[1] || histories[0] == "" {
			t.Errorf("seed %d has two histories:\n%s\n%s", seed, histories[0], histories[1])
		}
	}
}

// What the simulation rests on keeps the contract of a store as well.
func TestShared(t *testing.T) {
	for _, transactions := range []bool{false, true} {
		t.Run(fmt.Sprintf("transactions %v", transactions), func(t *testing.T) {
			storetest.Run(t, func(*testing.T) idempotency.Store {
				return newShared(newBank(), transactions).of(alive{})
			})
		})
	}
}

// alive is a holder that is never gone.
type alive struct{}

func (alive) lastSign() time.Time { return time.Now() }
func (alive) gone() bool          { return false }
