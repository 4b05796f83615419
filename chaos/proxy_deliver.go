package chaos

import (
	"maps"
	"math"
	"time"
)

// pieces is how many a second a limited bandwidth is made of.
const pieces = 20

// deliver is where the faults are that know nothing of frames.
func (p *pipe) deliver(e entry) {
	switch {
	case e.cut != nil:
		if p.flows() && !p.swallows() && p.link.abort() {
			e.cut.bite()
		}
	case e.end:
		if p.flows() && !p.swallows() {
			p.dst.CloseWrite()
		}
	default:
		p.deliverData(e.data)
	}
}

func (p *pipe) deliverData(b []byte) {
	for len(b) > 0 && p.flows() && !p.swallows() {
		now := p.now()
		n, rest := p.pace(len(b), now)
		n, cut := p.limit(n, now)
		if n > 0 {
			if _, err := p.dst.Write(b[:n]); err != nil {
				p.dead.Store(true)
				p.link.other(p).tell()
				return
			}
		}
		if cut != nil {
			if p.link.abort() {
				cut.bite()
			}
			return
		}
		if b = b[n:]; rest > 0 && !p.sleep(rest, now, nil) {
			return
		}
	}
}

// tell lets the receiver know that the sender is gone.
func (p *pipe) tell() {
	if p.flows() && !p.swallows() {
		p.link.abort()
	}
}

// flows waits while the pipe is stalled. It is false if the link has ended.
func (p *pipe) flows() bool {
	var by *Injection
	for {
		now := p.now()
		_, in := newest[Stall](p, now)
		if in == nil {
			return true
		}
		if in != by {
			in.bite()
			by = in
		}
		select {
		case <-now.changed:
		case <-p.link.done:
			return false
		}
	}
}

// swallows reports whether the pipe is half-open: then what there is to deliver must not be.
func (p *pipe) swallows() bool {
	for _, in := range on[HalfOpen](p, p.now()) {
		if p.link.number <= in.last {
			in.bite()
			p.dead.Store(true) // for good: from now on something is missing
			break
		}
	}
	return p.dead.Load()
}

// pace says how much of n bytes to write next, and how long to rest then.
func (p *pipe) pace(n int, now *faults) (int, time.Duration) {
	f, in := newest[Bandwidth](p, now)
	if in == nil {
		return n, 0
	}
	in.bite()
	n = min(n, max(1, f.BytesPerSecond/pieces))
	return n, time.Duration(n) * time.Second / time.Duration(f.BytesPerSecond)
}

// limit says how many of n bytes to write before a cut, if one is due.
func (p *pipe) limit(n int, now *faults) (int, *Injection) {
	if p.counting != now {
		p.counting = now
		maps.DeleteFunc(p.passed, func(in *Injection, _ int) bool { return in.healed.Load() })
	}
	var by *Injection
	for f, in := range on[Cut](p, now) {
		if left := f.Bytes - p.passed[in]; f.Method != "" || left > n {
			continue
		} else if in.meet() {
			n, by = left, in
		} else {
			p.passed[in] = math.MinInt / 2 // it is for another connection
		}
	}
	for f, in := range on[Cut](p, now) {
		if f.Method == "" {
			p.passed[in] += n
		}
	}
	return n, by
}
