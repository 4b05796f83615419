package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// The invariants, by the names that docs and other tests know them by. Each returns what violates it.
var invariants = []func(w *world) found{
	moneyIsConserved, okHasEffect, effectWasAskedFor, noMeansNo, onceMeansOnce, replyBelongs, repliesAreEqual, endsInTime,
	patienceIsRewarded, fewRetries, payloadIsFixed, tenantsAreApart, secretsAreKept, tagsAreKnown, errorsAreKnown,
}

func (w *world) check() {
	for _, invariant := range invariants {
		w.violations = append(w.violations, invariant(w)...)
	}
}

// found collects violations.
type found []string

func (f *found) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// A group is all that was asked, and all that was run, under one call ID of one tenant.
type group struct {
	asks []*outcome
	runs []*run // those with an effect
}

func (w *world) groups() map[who]*group {
	groups := make(map[who]*group)
	of := func(k who) *group {
		if groups[k] == nil {
			groups[k] = &group{}
		}
		return groups[k]
	}
	for _, o := range w.outcomes {
		g := of(o.who())
		g.asks = append(g.asks, o)
	}
	for _, x := range w.bank.runs {
		if !x.applied.IsZero() {
			g := of(x.who)
			g.runs = append(g.runs, x)
		}
	}
	return groups
}

func (g *group) only(is func(*outcome) bool) bool {
	for _, o := range g.asks {
		if !is(o) {
			return false
		}
	}
	return len(g.asks) > 0
}

func moneyIsConserved(w *world) (f found) {
	check := func(balances []int, where string) {
		sum := 0
		for _, b := range balances {
			sum += b
			if b < 0 {
				f.add("I1: %s has a negative balance: %v", where, balances)
			}
		}
		if sum != accounts*opening {
			f.add("I1: %s has %d in all, not %d", where, sum, accounts*opening)
		}
	}
	check(w.bank.balances[:], "the bank")
	for _, o := range w.outcomes {
		if o.ok() && o.read {
			check(o.receipt.Balances, "a read")
		}
	}
	return f
}

func okHasEffect(w *world) (f found) {
	for _, o := range w.outcomes {
		if !o.ok() || o.read {
			continue
		}
		if n := o.receipt.Run; n < 1 || n > len(w.bank.runs) || w.bank.runs[n-1].applied.IsZero() {
			f.add("I2: %v ended well with run %d, which had no effect", o.ask, n)
		}
	}
	return f
}

func effectWasAskedFor(w *world) (f found) {
	for k, g := range w.groups() {
		for _, x := range g.runs {
			asked := false
			for _, o := range g.asks {
				asked = asked || o.payment == x.payment && !o.ask.read
			}
			if !asked {
				f.add("I3: nobody asked for run %d of %v, payload %d", x.n, k, x.payment.N)
			}
		}
	}
	return f
}

// noMeansNo: what a call was told not to have executed has no effect through that call. Two cases are left out: a request that was
// delivered twice without being marked, and answered twice; and the misuse of an ID, which came back when the ID was not taken any
// more, or to a server that does not know that it is.
func noMeansNo(w *world) (f found) {
	denied := make(map[int]*outcome)
	for _, o := range w.outcomes {
		if !o.ok() && rpc.Executed(o.err) == rpc.ExecutedNo {
			denied[o.seq] = o
		}
	}
	for k, g := range w.groups() {
		for _, x := range g.runs {
			o := denied[x.ask]
			misuse := o != nil && x.redelivered && rpc.CodeOf(o.err) == rpc.InvalidArgument
			if o != nil && !misuse && !w.doubled {
				f.add("I4: %v was told that it was not executed, and run %d had an effect", o.ask, x.n)
			}
			for _, o := range g.asks { // a shared store knows that somebody was at it before
				if denied[o.seq] == o && w.plan.memory >= claims && o.n == x.payment.N && x.applied.Before(o.start) &&
					rpc.CodeOf(o.err) == rpc.Aborted && x.at.Add(retention/2).After(o.end) {
					f.add("I4: %v, payload %d, was asked for again, and not executed, by the answer, but run %d had an effect", k, o.n, x.n)
				}
			}
		}
	}
	return f
}

// onceMeansOnce: as often as the memory promises at most.
func onceMeansOnce(w *world) (f found) {
	for k, g := range w.groups() {
		alone := len(g.asks) == 1 && g.asks[0].once
		switch w.plan.memory {
		case transactions:
			if len(g.runs) > 1 {
				f.add("I5: %v had %d effects", k, len(g.runs))
			}
		case claims:
			if most := w.shared.claims[k]; len(g.runs) > most {
				f.add("I5: %v had %d effects of %d claims", k, len(g.runs), most)
			}
			if len(g.runs) > 1 && g.only(func(o *outcome) bool { return o.once }) {
				f.add("I5: %v had %d effects, and was to be executed at most once by each that asked", k, len(g.runs))
			}
		case lru:
			lives := make(map[string]bool)
			for _, x := range g.runs {
				if lives[x.life] {
					f.add("I5: %v had 2 effects in %s", k, x.life)
				}
				lives[x.life] = true
			}
		}
		if alone && len(g.runs) > 1 {
			f.add("I5: %v had %d effects, and was to be executed at most once", k, len(g.runs))
		}
	}
	return f
}

func replyBelongs(w *world) (f found) {
	for _, o := range w.outcomes {
		if o.ok() && (o.receipt.ID != o.id || o.receipt.N != o.n) {
			f.add("I6: %v got the reply of %s, payload %d", o.ask, o.receipt.ID, o.receipt.N)
		}
	}
	return f
}

// repliesAreEqual: of a call that is remembered there is one answer.
func repliesAreEqual(w *world) (f found) {
	for k, g := range w.groups() {
		first := make(map[string]int) // run, by who has to know it
		failed := false
		for _, o := range g.asks {
			failed = failed || !o.ok() && rpc.Executed(o.err) == rpc.ExecutedYes
			if !o.ok() {
				continue
			}
			knows := ""
			switch w.plan.memory {
			case none:
				continue
			case lru:
				knows = o.receipt.Life
			}
			if run, known := first[knows]; known && run != o.receipt.Run {
				f.add("I7: %v was answered by run %d, and by run %d", k, run, o.receipt.Run)
			}
			first[knows] = o.receipt.Run
		}
		if failed && len(first) > 0 && w.plan.memory >= claims {
			f.add("I7: %v was answered with a reply, and with an error of the handler", k)
		}
	}
	return f
}

func endsInTime(w *world) (f found) {
	for _, o := range w.outcomes {
		limit := o.timeout
		if o.cancel > 0 {
			limit = min(limit, o.cancel)
		}
		if took := o.end.Sub(o.start); took > limit+100*time.Millisecond {
			f.add("I8: %v ended after %v", o.ask, took)
		}
	}
	for _, x := range w.bank.runs {
		if x.late && w.plan.memory == none { // others are between the check and the handler, and may take their time
			f.add("I8: run %d of %v began after its deadline", x.n, x.who)
		}
	}
	return f
}

// patienceIsRewarded: who can wait for the end of all faults gets an answer.
func patienceIsRewarded(w *world) (f found) {
	for _, o := range w.outcomes {
		if o.patient && !o.killed && !w.lossy.Load() && rpc.CodeOf(o.err) == rpc.DeadlineExceeded {
			f.add("I9: %v ended with %v", o.ask, o.err)
		}
	}
	return f
}

// fewRetries: the budget is a tenth of the calls, 25 at the start, and 5 for each second.
func fewRetries(w *world) (f found) {
	took := w.asked.Seconds()
	for i, c := range w.callers {
		if n, most := float64(c.retries.Load()), 25+0.1*float64(c.calls.Load())+5*took; n > most {
			f.add("I14: client %d made %v retries for %d calls in %v s, at most %v are allowed", i, n, c.calls.Load(), took, most)
		}
	}
	return f
}

// payloadIsFixed: one call ID, one payload.
func payloadIsFixed(w *world) (f found) {
	for k, g := range w.groups() {
		payloads := make(map[string]int)
		for _, x := range g.runs {
			knows := ""
			switch w.plan.memory {
			case none:
				continue
			case lru:
				knows = x.life
			}
			if n, known := payloads[knows]; known && n != x.payment.N {
				f.add("I16: %v had an effect with payload %d, and with payload %d", k, n, x.payment.N)
			}
			payloads[knows] = x.payment.N
		}
	}
	return f
}

func tenantsAreApart(w *world) (f found) {
	for _, o := range w.outcomes {
		if got := (who{o.receipt.User, o.receipt.Client, o.method().Name, o.receipt.ID}); o.ok() && got != o.who() {
			f.add("I17: %v got the reply of %v", o.ask, got)
		}
	}
	return f
}

func secretsAreKept(w *world) (f found) {
	for _, o := range w.outcomes {
		if o.err == nil {
			continue
		}
		for _, secret := range []string{secretOfCaller, secretOfServer} {
			if strings.Contains(o.err.Error(), secret) {
				f.add("I18: %v ended with %v", o.ask, o.err)
			}
		}
	}
	return f
}

func tagsAreKnown(w *world) (f found) {
	for s := range w.sessions {
		if err := s.Err(); err != nil && strings.Contains(err.Error(), "unknown delivery tag") {
			f.add("I19: a session ended with %v", err)
		}
	}
	return f
}

// errorsAreKnown: an error is one of those that a call may end with.
func errorsAreKnown(w *world) (f found) {
	for _, o := range w.outcomes {
		big := len(o.payment.Memo) > 300
		switch code := rpc.CodeOf(o.err); {
		case code == rpc.OK && !big, code == rpc.Unavailable, code == rpc.DeadlineExceeded, code == rpc.FailedPrecondition, code == rpc.Aborted,
			code == rpc.ResourceExhausted, code == rpc.Canceled && (o.cancel > 0 || o.killed), code == rpc.Unknown, code == rpc.Internal:
		case code == rpc.InvalidArgument && (big || len(w.groups()[o.who()].asks) > 1):
		case code == rpc.AlreadyExists && w.overlaps(o):
		case code == rpc.AlreadyExists:
			f.add("I11: %v ended with %v, and no such call was there", o.ask, o.err)
		default:
			f.add("I6: %v ended with %v", o.ask, o.err)
		}
	}
	return f
}

// overlaps reports whether the same client made another call with the same ID at the same time.
func (w *world) overlaps(o *outcome) bool {
	for _, other := range w.outcomes {
		if other != o && other.client == o.client && other.id == o.id && !other.end.Before(o.start) && !o.end.Before(other.start) {
			return true
		}
	}
	return false
}
