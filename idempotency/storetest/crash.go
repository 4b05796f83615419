package storetest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

// Crash describes a store to [RunCrash]. Survives and Open are required.
type Crash struct {
	Survives Promise

	// Open opens the store at place. It is called in processes of their own, which never close the store: they are
	// killed, or end.
	Open func(place string) (idempotency.Store, error)

	// Place makes an empty place for the data of one store, and returns what Open needs to find it, such as a file or
	// a URL. It is called in the process of the test. nil is a directory.
	Place func(t *testing.T) string

	// TakesOver is for stores that several processes use at a time: how long after the end or the last sign of its
	// holder a claim goes to another process, at most. The suite waits for it again and again: let it be short. With 0
	// a process opens the store after the one before it has ended, and takes over at once.
	TakesOver time.Duration

	// Apply makes the effect of a call, and Count says how often those that last were made for it. ctx is that of the
	// handler. Count is called in the process of the test. nil for both is a file that each effect is appended to.
	Apply func(ctx context.Context, id string) error
	Count func(t *testing.T, place, id string) int

	// Points are failpoints of the store itself, with the last step before each: Delivered or Claimed for one that
	// each Begin of a new call passes, Answered or Stored for one that each Complete passes.
	Points map[string]Step
}

// Promise is what a store still knows of a call when the process that ran it has died.
type Promise int

const (
	// Nothing: the call is new.
	Nothing Promise = iota
	// Outcomes: a call that was completed is done, one that was claimed is orphaned.
	Outcomes
	// Effects: a call that was completed is done, one that was claimed had no effect, and is new.
	Effects
)

// Step is the last thing that a process did for a call. Claimed, Entered, Applied and Stored are failpoints too.
type Step string

// The steps in their order.
const (
	Delivered Step = "delivered" // nothing is claimed
	Claimed   Step = "claimed"
	Entered   Step = "entered" // the handler has been called
	Applied   Step = "applied" // the effect has been made
	Answered  Step = "answered"
	Stored    Step = "stored" // the outcome has been recorded
)

// steps are those that each store passes.
var steps = []Step{Claimed, Entered, Applied, Stored}

// RunCrash checks what the store promises for processes that are killed between any two steps of a call, once and twice,
// alone and among other calls; and, if several processes use it at a time, for those that freeze there and come back.
//
// It executes the binary of the test again and again, for the calling test alone, and does not return there. So a test
// calls it once, and neither the test nor TestMain should do anything slow before. Processes hold 8 claims at a time.
func RunCrash(t *testing.T, c Crash) {
	if orders, ok := os.LookupEnv(env); ok {
		c.child(orders)
	}
	if c.Place == nil {
		c.Place = func(t *testing.T) string { return t.TempDir() }
	}
	test := t.Name()
	run := func(name string, atMostOnce bool, calls int, f func(*testing.T, *world)) {
		if atMostOnce {
			name = "at most once, " + name
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, &world{Crash: c, test: test, dir: t.TempDir(), place: c.Place(t), calls: calls, atMostOnce: atMostOnce})
		})
	}
	for _, atMostOnce := range []bool{false, true} {
		if atMostOnce && c.Survives == Nothing {
			break // who knows nothing cannot keep that
		}
		for _, s := range c.schedules() {
			run("killed "+s.String(), atMostOnce, 1, func(t *testing.T, w *world) { w.killed(t, s) })
		}
		for _, at := range steps {
			run("killed among many "+string(at), atMostOnce, 40, func(t *testing.T, w *world) { w.killedAmongMany(t, at) })
			if c.TakesOver > 0 {
				run("frozen "+string(at), atMostOnce, 1, func(t *testing.T, w *world) { w.frozen(t, at) })
			}
		}
	}
}
