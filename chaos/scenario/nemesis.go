package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

const stepLimit = 90 * time.Second // to break something, and to heal it: a broker takes seconds to boot

// unleash carries out the schedule: each step in its time, on its own. When the faults are over, or ctx is, all are healed; a
// step that had to wait for another one on the same process comes late then, and takes its time, unless chance has picked it. The
// error tells of those that cannot be healed.
func (r *run) unleash(ctx context.Context, steps []Step, length time.Duration) error {
	start := time.Now()
	var wg sync.WaitGroup
	errs := make(chan error, len(steps))
	over, cancel := context.WithDeadline(ctx, start.Add(length))
	defer cancel()
	for _, s := range steps {
		if !wait(ctx, time.Until(start.Add(time.Duration(s.At)))) { // not over: the last may come just then
			break
		}
		wg.Go(func() { errs <- r.step(ctx, over, s) })
	}
	<-over.Done()
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// wait waits, and reports whether ctx let it.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// step is the life of one fault.
func (r *run) step(ctx, over context.Context, s Step) error {
	if name := owner(s); name != "" {
		defer r.busy.lock(name)()
		if ctx.Err() != nil {
			return nil // interrupted
		}
	}
	f := history.Fault{Name: s.name(), Target: s.Target, Text: s.String(), From: r.history.Since(), Chance: s.Chance}
	r.active.add(s.String())
	defer r.active.remove(s.String())
	begin := r.begin
	if s.Fault == lineFault {
		begin = r.spoil
	}
	// An interrupt does not end it: what is half broken cannot be healed.
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepLimit)
	defer cancel()
	heal, err := begin(limit, s)
	if err == nil {
		f.Bites = 1
		if over.Err() != nil && !s.Chance {
			over = ctx // or it could have no effect
		}
		wait(over, time.Duration(s.For))
	} else {
		f.Error = err.Error()
	}
	limit, cancel = context.WithTimeout(context.WithoutCancel(ctx), stepLimit)
	defer cancel()
	bites, healing := heal(limit)
	if bites >= 0 {
		f.Bites = bites
	}
	f.To = r.history.Since()
	r.history.Fault(f)
	if healing != nil {
		return fmt.Errorf("heal %v: %w", s, healing)
	}
	return nil
}

// begin breaks what the step says. Heal returns how often that had an effect, -1 where nobody counts.
func (r *run) begin(ctx context.Context, s Step) (heal func(context.Context) (int, error), err error) {
	undo, err := find(s).do(ctx, r, s)
	if undo == nil {
		undo = func(context.Context) error { return nil }
	}
	return func(ctx context.Context) (int, error) {
		healing := undo(ctx)
		if errors.Is(healing, errNoEffect) {
			return 0, nil
		}
		return -1, healing
	}, err
}

// owner is whom a fault has for itself: two faults of one process would undo each other, and what is said to the broker
// about users and queues needs one that runs.
func owner(s Step) string {
	switch {
	case s.Fault == lineFault:
		return "" // those can be many at a time
	case s.Target == "user" || s.Target == "service":
		return "broker"
	}
	return s.Target
}

// spoil is begin for a fault on the line of the target.
func (r *run) spoil(_ context.Context, s Step) (func(context.Context) (int, error), error) {
	var in []*chaos.Injection
	for _, p := range r.lines(s.Target) {
		in = append(in, p.Inject(s.Line.Fault))
	}
	return func(context.Context) (bites int, _ error) {
		for _, i := range in {
			i.Heal()
			bites += i.Bites()
		}
		return bites, nil
	}, nil
}

// lines are the proxies between a target and what it is connected with.
func (r *run) lines(target string) (lines []*chaos.Proxy) {
	switch target {
	case "callers":
		return []*chaos.Proxy{r.line}
	case "store":
		return []*chaos.Proxy{r.lab.storeLine}
	}
	for _, name := range r.names {
		if target == "servers" || target == name {
			lines = append(lines, r.servers[name].line)
		}
	}
	return lines
}

// locks are one for each name.
type locks struct{ all sync.Map }

func (l *locks) lock(name string) (unlock func()) {
	mu, _ := l.all.LoadOrStore(name, new(sync.Mutex))
	mu.(*sync.Mutex).Lock()
	return mu.(*sync.Mutex).Unlock
}

// names is a multiset of what goes on.
type names struct {
	mu  sync.Mutex // guards now
	now []string
}

func (n *names) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = append(n.now, s)
}

func (n *names) remove(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.now, s); i >= 0 {
		n.now = slices.Delete(n.now, i, i+1)
	}
}

func (n *names) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.now)
}
