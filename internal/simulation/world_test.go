package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A world is one life of everything, from a plan.
type world struct {
	plan    *plan
	began   time.Time
	doubled bool          // requests may have been delivered twice
	asked   time.Duration // until all calls but those of the epilogue had ended
	broker  *conntest.Broker
	bank    *bank
	shared  *shared
	callers []*caller
	log     *slog.Logger
	later   sync.WaitGroup // faults that take time
	over    chan struct{}  // closed when there are no more faults

	healed atomic.Bool // no more faults
	lossy  atomic.Bool // requests may have vanished

	mu         sync.Mutex            // guards what follows
	lives      []int                 // of each server
	servers    []*process            // the present ones
	all        []*process            // that ever were
	frozen     bool                  // a server was frozen until all is forgotten
	sessions   map[conn.Session]bool // that ever were
	outcomes   []*outcome
	notes      []note
	violations []string
	counts     map[string]uint64
}

// A note is something that happened, for the history of a seed that fails.
type note struct {
	at     time.Duration
	format string
	args   []any
}

// count adds up what tells whether the faults bit.
func (w *world) count(name string, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[name] += n
}

// live makes a world live its plan, and returns what was violated.
func live(p *plan) *world {
	w := &world{
		plan: p, began: time.Now(), broker: conntest.NewBroker(), bank: newBank(), lives: make([]int, p.servers),
		servers: make([]*process, p.servers), over: make(chan struct{}), counts: make(map[string]uint64), sessions: make(map[conn.Session]bool),
	}
	w.shared = newShared(w.bank, p.memory == transactions)
	w.log = slog.New(&secretFinder{w})
	for i := range p.servers {
		w.start(i)
	}
	for i := range clients {
		c := &caller{w: w, i: i}
		c.start()
		w.callers = append(w.callers, c)
	}
	time.Sleep(time.Millisecond)
	var asking sync.WaitGroup
	for _, asks := range p.callers {
		asking.Go(func() {
			for _, a := range asks {
				time.Sleep(a.pause)
				w.ask(a)
			}
		})
	}
	for _, f := range p.faults {
		time.Sleep(f.at)
		w.strike(f)
	}
	w.heal()
	asking.Wait()
	w.asked = time.Since(w.began)
	w.epilogue()
	w.end()
	w.check()
	return w
}

func (w *world) ask(a *ask) {
	w.note("asks: %v", a)
	o := w.callers[a.client].call(a)
	w.note("%s of client %d, payload %d: run %d, %v, executed %v", a.id, a.client, a.n, o.receipt.Run, o.err, rpc.Executed(o.err))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, o)
}

// heal takes back all faults, and waits for the end of those that take time.
func (w *world) heal() {
	time.Sleep(500 * time.Millisecond)
	close(w.over)
	w.mu.Lock()
	all := slices.Clone(w.all)
	w.mu.Unlock()
	for _, p := range all {
		p.disarm()
	}
	for _, c := range w.callers {
		c.connector().Disarm()
	}
	w.note("healed")
	w.later.Wait()
}

const firstOfEpilogue = 1000 // payload

// epilogue is what all must be able to do again: now there are no faults but slow goroutines.
func (w *world) epilogue() {
	time.Sleep(15 * time.Second) // a server may wait for a confirmation for 10 s
	w.healed.Store(true)
	w.note("epilogue")
	var asking sync.WaitGroup
	for i, c := range w.callers {
		asking.Go(func() {
			for j := range 2 {
				n := firstOfEpilogue + 2*i + j
				c.connector().Fail(conntest.SlowPublish(1, 30*time.Millisecond))
				a := &ask{seq: n, n: n, client: i, id: fmt.Sprint("call ", n), payment: payment{N: n, To: 1}, read: j == 1, timeout: 5 * time.Second}
				o := c.call(a)
				if took := o.end.Sub(o.start); !o.ok() || took > 2*time.Second {
					w.violate("I9: after all faults, %s of client %d ended after %v with %v", a.id, i, took, o.err)
				}
				w.mu.Lock()
				w.outcomes = append(w.outcomes, o)
				w.mu.Unlock()
			}
		})
	}
	asking.Wait()
	time.Sleep(time.Second)
}

// end stops everything, and looks at what is left.
func (w *world) end() {
	for _, p := range w.all {
		p.stop()
	}
	for _, c := range w.callers {
		c.stop()
	}
	for _, q := range w.broker.Queues() {
		if q.Ready+q.Unacked+q.Consumers > 0 || strings.HasPrefix(q.Name, "amq.gen-") {
			w.violate("I12: queue %s is left with %d messages, %d not acknowledged, %d consumers", q.Name, q.Ready, q.Unacked, q.Consumers)
		}
	}
	w.broker.Close()
}

// server returns the present life of one of the servers.
func (w *world) server(i int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[i%len(w.servers)]
}

func (w *world) each(f func(*process)) {
	for i := range w.plan.servers {
		f(w.server(i))
	}
}

// watch keeps the sessions that a connector hands out.
func (w *world) watch(c *conntest.Connector) conn.Connector { return &watched{c, w} }

type watched struct {
	*conntest.Connector
	w *world
}

func (c *watched) Session(ctx context.Context) (conn.Session, error) {
	s, err := c.Connector.Session(ctx)
	if err == nil {
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		c.w.sessions[s] = true
	}
	return s, err
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, note{time.Since(w.began), format, args})
}

func (w *world) violate(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
}

// history tells what happened, in order.
func (w *world) history() string {
	var b strings.Builder
	for _, n := range w.notes {
		fmt.Fprintf(&b, "%8.3f %s\n", n.at.Seconds(), fmt.Sprintf(n.format, n.args...))
	}
	for _, x := range w.bank.runs {
		applied := "no effect"
		if !x.applied.IsZero() {
			applied = fmt.Sprintf("effect at %.3f", x.applied.Sub(w.began).Seconds())
		}
		fmt.Fprintf(&b, "%8.3f run %d of %v, payload %d, at %s: %s\n", x.at.Sub(w.began).Seconds(), x.n, x.who, x.payment.N, x.life, applied)
	}
	return b.String()
}

// A secretFinder is a log in which no secret may be: that of the callers not at all, and that of servers they may log themselves.
type secretFinder struct{ w *world }

func (*secretFinder) Enabled(context.Context, slog.Level) bool { return true }

func (f *secretFinder) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if strings.Contains(a.Value.String(), secretOfCaller) {
			f.w.violate("I18: log %q has a secret in %s", r.Message, a.Key)
		}
		return true
	})
	return nil
}

func (f *secretFinder) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f *secretFinder) WithGroup(string) slog.Handler      { return f }
