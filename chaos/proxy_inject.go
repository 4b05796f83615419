package chaos

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
)

// An Injection is a fault at work in a proxy.
type Injection struct {
	proxy  *Proxy
	fault  Fault
	method method // that the fault waits for; 0 for none
	nth    int64
	last   int // the number of the newest link when it was injected
	met    atomic.Int64
	bites  atomic.Int64
	healed atomic.Bool
}

// faults are those at work at a time. It never changes: with the next fault, or one less, there is another.
type faults struct {
	active  []*Injection  // the newest first
	changed chan struct{} // closed when this is out of date
}

// Fault returns the fault.
func (in *Injection) Fault() Fault { return in.fault }

// Bites returns how often the fault has had an effect so far; what counts as once is said with each kind. A test in
// which its fault has not bitten shows nothing.
func (in *Injection) Bites() int { return int(in.bites.Load()) }

// Heal ends the fault. What it holds goes on its way; what is lost stays lost. A second Heal does nothing.
func (in *Injection) Heal() { in.proxy.heal(in) }

// String says what the fault is, and how often it has bitten.
func (in *Injection) String() string { return fmt.Sprintf("%v; bites: %d", in.fault, in.Bites()) }

func (in *Injection) bite() { in.bites.Add(1) }

// meet counts one more of what the fault waits for, and reports whether it is the one.
func (in *Injection) meet() bool {
	n := in.met.Add(1)
	return in.nth == 0 || n == in.nth
}

// Inject lets f go wrong until it is healed. Of several faults that could act on the same data the one injected last
// does. It panics if f is not valid: see Validate.
func (p *Proxy) Inject(f Fault) *Injection {
	f = plain(f)
	if err := validate(f); err != nil {
		panic("chaos: " + err.Error())
	}
	in := &Injection{proxy: p, fault: f}
	if m, ok := f.(methodFault); ok {
		name, nth := m.awaits()
		in.method, in.nth = methods[name], int64(nth)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return in
	}
	in.last = p.accepted
	switch f := f.(type) {
	case Reset:
		p.end(in, f.Dir, (*link).reset)
		return in
	case HangUp:
		p.end(in, f.Dir, (*link).hangUp)
		return in
	}
	p.set(append([]*Injection{in}, p.faults.Load().active...))
	p.door()
	return in
}

// Heal ends all faults.
func (p *Proxy) Heal() { p.heal(p.faults.Load().active...) }

func (p *Proxy) heal(healed ...*Injection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, in := range healed {
		in.healed.Store(true)
	}
	p.set(slices.DeleteFunc(slices.Clone(p.faults.Load().active), func(in *Injection) bool { return in.healed.Load() }))
	p.door()
}

// set changes the faults at work, and tells all who wait for that.
func (p *Proxy) set(active []*Injection) {
	old := p.faults.Swap(&faults{active: active, changed: make(chan struct{})})
	close(old.changed)
}

// end ends the links that are meant.
func (p *Proxy) end(in *Injection, dir Direction, how func(*link, Direction)) {
	_, name := in.fault.where()
	for l := range p.links {
		if l.named(name) {
			how(l, dir)
			in.bite()
		}
	}
}

// on returns the faults of one kind that concern p, the newest first.
func on[F Fault](p *pipe, now *faults) iter.Seq2[F, *Injection] {
	return func(yield func(F, *Injection) bool) {
		for _, in := range now.active {
			if f, ok := in.fault.(F); ok && in.concerns(p) && !yield(f, in) {
				return
			}
		}
	}
}

// newest returns the first of them.
func newest[F Fault](p *pipe, now *faults) (f F, in *Injection) {
	for f, in := range on[F](p, now) {
		return f, in
	}
	return f, nil
}

func (in *Injection) concerns(p *pipe) bool {
	dir, name := in.fault.where()
	return dir.includes(p.dir) && p.link.named(name)
}

// named reports whether a fault for connections of that name means l.
func (l *link) named(part string) bool {
	if part == "" {
		return true
	}
	name := l.name.Load()
	return name != nil && strings.Contains(*name, part)
}
