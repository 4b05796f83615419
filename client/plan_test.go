package client

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// world is the truth about a call, as the test makes it up: what the plan may believe is checked against it.
type world struct {
	sent     int  // publishes that may have reached a server
	executed bool // a handler may have run
	refused  bool // the last retry was not in the budget
	said     *rpc.Error
}

// TestPlan drives plans with all sequences of events that there can be, and checks what must hold in each.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w world
		p := &plan{
			manner: manner{
				wait:     rapid.Bool().Draw(t, "wait"),
				failFast: rapid.Bool().Draw(t, "fail fast"),
				once:     rapid.Bool().Draw(t, "once"),
				durable:  rapid.Bool().Draw(t, "durable"),
				retry:    rapid.Bool().Draw(t, "retry"),
			},
			plain: rapid.Bool().Draw(t, "plain"),
			queue: "q",
			budget: func() bool {
				w.refused = !rapid.Bool().Draw(t, "budget")
				return !w.refused
			},
			back: func() bool { return rapid.Bool().Draw(t, "back") },
		}
		p.wait = p.wait && !p.failFast // as the options do
		p.durable = p.durable && !p.plain

		e := event{kind: started}
		var before doing
		for n := 0; ; n++ {
			s := p.next(e)
			check(t, p, &w, e, s, before)
			if s.do == end {
				return
			}
			before = s.do
			if n == 30 { // time is up
				e = event{kind: over, out: s.do == publish}
				w.executed = w.executed || e.out
				continue
			}
			e = w.happen(t, p, s)
		}
	})
}

// happen draws what comes of a step.
func (w *world) happen(t *rapid.T, p *plan, s step) event {
	cause := errors.New("cause")
	known := func(all ...presence) presence { return rapid.SampledFrom(all).Draw(t, "known") }
	ends := []event{{kind: over}, {kind: canceled, cause: errCanceled}}
	switch s.do {
	case connect:
		return rapid.SampledFrom(append(ends,
			event{kind: connected, known: known(unknown, present, busy, absent, missing)},
			event{kind: disconnected, cause: cause})).Draw(t, "connect")
	case look:
		return rapid.SampledFrom(append(ends,
			event{kind: looked, known: known(present, absent, missing)},
			event{kind: disconnected, cause: cause})).Draw(t, "look")
	case pause, room:
		return rapid.SampledFrom(append(ends, event{kind: ready})).Draw(t, "wait")
	}
	// publish
	switch rapid.SampledFrom([]string{"server", "nobody", "ambiguous", "time"}).Draw(t, "publish") {
	case "server":
		if rapid.Bool().Draw(t, "ok") {
			w.executed = true
			return event{kind: replied, reply: &rpc.Reply{}}
		}
		x := rapid.SampledFrom([]rpc.Execution{rpc.ExecutedNo, rpc.ExecutedUnknown, rpc.ExecutedYes}).Draw(t, "executed")
		code := rapid.SampledFrom([]rpc.Code{rpc.Unavailable, rpc.ResourceExhausted, rpc.InvalidArgument, rpc.Aborted}).Draw(t, "code")
		w.said = &rpc.Error{Code: code, Executed: x, Remote: true, RetryAfter: rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "after")}
		back := s.mode != wire.Direct && !p.once && code.Retryable() // from the queue, to a server that does not refuse it
		w.executed = w.executed || x != rpc.ExecutedNo || back
		return event{kind: failed, err: w.said}
	case "nobody":
		kinds := []kind{returned, unsent, blocked, forbidden}
		if s.mode == wire.Durable {
			kinds = append(kinds, nacked)
		}
		return event{kind: rapid.SampledFrom(kinds).Draw(t, "kind"), cause: cause}
	case "ambiguous":
		w.executed = true // maybe
		w.sent++
		kinds := []kind{lost, unsure, full, buried, unheard}
		if s.mode == wire.Direct {
			kinds = append(kinds, bounced)
		} else {
			kinds = append(kinds, expired)
		}
		return event{kind: rapid.SampledFrom(kinds).Draw(t, "kind"), cause: cause}
	}
	w.executed = true
	return event{kind: rapid.SampledFrom([]kind{over, canceled}).Draw(t, "kind"), out: true, cause: errCanceled}
}

// check is what must hold of each step.
func check(t *rapid.T, p *plan, w *world, e event, s step, before doing) {
	switch s.do {
	case publish:
		if p.once && w.sent > 0 {
			t.Fatal("a call that may be executed once only was sent again after it may have been delivered")
		}
		want := wire.Direct
		switch {
		case p.plain:
			want = wire.Plain
		case p.durable:
			want = wire.Durable
		case p.once:
			want = wire.Queued
		case s.mode == wire.Queued:
			want = wire.Queued
			if e.known != busy && before != look {
				t.Fatal("queued, with nothing known of busy servers")
			}
		}
		if s.mode != want {
			t.Fatalf("mode %v, want %v", s.mode, want)
		}
		if e.kind != connected && e.kind != looked {
			t.Fatalf("published after %v, without knowing of a server", e.kind)
		}
		if e.known == missing || e.known == absent && !p.durable || e.known == unknown {
			t.Fatalf("published to servers that are %v", e.known)
		}
	case pause:
		if s.wait < 0 || s.wait > max(2*time.Second, time.Second) {
			t.Fatalf("a pause of %v", s.wait)
		}
		if e.kind == failed && s.wait < e.err.RetryAfter {
			t.Fatalf("a pause of %v, and the server has asked for %v", s.wait, e.err.RetryAfter)
		}
		if e.kind == failed || e.kind == nacked || e.kind == full {
			if !p.retry || w.refused || e.err != nil && e.err.Executed == rpc.ExecutedYes {
				t.Fatal("a retry that was not asked for, is not in the budget, or can only give the same answer")
			}
		}
		if p.failFast && (e.kind == disconnected || e.kind == unsent || e.kind == returned) {
			t.Fatalf("waits after %v, and must fail fast", e.kind)
		}
	case room:
		if e.kind != blocked || p.failFast {
			t.Fatalf("waits for room after %v", e.kind)
		}
	case end:
		if (s.reply == nil) == (s.err == nil) {
			t.Fatal("want exactly one of reply and error")
		}
		if s.err == nil {
			return
		}
		if code := rpc.CodeOf(s.err); (e.kind == full || e.kind == nacked) && code != rpc.ResourceExhausted {
			t.Fatalf("%v after %v", code, e.kind)
		}
		x := rpc.Executed(s.err)
		if w.executed && x == rpc.ExecutedNo {
			t.Fatalf("%v says that it was not executed, and it may have been", s.err)
		}
		if !w.executed && x != rpc.ExecutedNo {
			t.Fatalf("%v says executed %v, and nothing was ever sent", s.err, x)
		}
		if p.wait && errors.Is(s.err, ErrNoServer) && e.kind != over && e.kind != canceled {
			t.Fatal("gave up, and was to wait for a server")
		}
	}
}
