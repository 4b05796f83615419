package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

const (
	registerTime = 30 * time.Second // for all keys together; a quarter of it for one, or a hard one would have it all
	explainTime  = 3 * time.Second
	maxPart      = 60_000 // operations without a place to cut: porcupine takes an eighth of a byte for each two of them, 450 MB
)

// checkRegisters is I15: the operations on a key have an order, each between its invocation and its answer, in which each
// gets the answer that it got. With a memory that may run a call twice, keys are left out with which that has happened, or
// may have, since the ledger does not say: see once.
func checkRegisters(x *index, r *ruling) { checkRegistersWithin(registerTime, x, r) }

func checkRegistersWithin(limit time.Duration, x *index, r *ruling) {
	keys, of := x.operations(r)
	end := time.Now().Add(limit)
	operations, checked, left, answered := 0, 0, 0, false
	var last *history.Call
	for _, key := range keys {
		last = of[key][0].call
		answered = answered || slices.ContainsFunc(of[key], func(o *operation) bool { return o.state == done })
		if !x.strict() && !x.once(of[key]) {
			left++
			continue
		}
		checked++
		all := slices.DeleteFunc(of[key], func(o *operation) bool { return o.state == idle || o.state == open && o.reads() })
		operations += len(all)
		checkRegister(key, all, time.Now().Add(min(limit/4, time.Until(end))), r)
		delete(of, key)
	}
	r.saw(operations, "operation")
	r.note("on %s", count(checked, "key"))
	if len(keys) > 0 && !answered {
		r.doubts("no put, get or cas was ever ok. %s", ending(last))
	}
	if left > 0 {
		r.note("%s left out, since the ledger does not have each of their writes once", digits(left))
	}
}

// once reports whether the ledger shows that nothing was written twice, nor by a call that was told that it was not.
func (x *index) once(all []*operation) bool {
	for _, o := range all {
		n := x.effects[o.call.Tag]
		switch _, known := o.knows(); {
		case o.reads():
		case n > 1, o.state == done && known != (n == 1):
			return false
		}
	}
	return true
}

func checkRegister(key string, all []*operation, end time.Time, r *ruling) {
	slices.SortStableFunc(all, func(a, b *operation) int { return cmp.Compare(a.invoked, b.invoked) })
	bound(all)
	result, part := orderVisible(all, end)
	switch {
	case result == porcupine.Illegal:
		explain(key, part, r)
	case result == porcupine.Unknown && len(part.ops) > maxPart:
		r.doubts("key %q: %s from %s on overlap one another, too many to find their order", key, count(len(part.ops), "operation"), at(part.ops[0].invoked))
	case result == porcupine.Unknown:
		r.doubts("key %q: no order of %s from %s on was found in the time there is", key, count(len(part.ops), "operation"), at(part.ops[0].invoked))
	}
}

// orderVisible looks for an order without what nobody saw, which is found soon or not at all. If there is none, a swap that
// was refused may be the only trace of a write. Without those swaps, which change nothing, such writes do not matter again.
// Only if that has an order it takes a search among all that there is.
func orderVisible(all []*operation, end time.Time) (porcupine.CheckResult, part) {
	seen, exact := visible(all)
	result, p := order(seen, end)
	if result != porcupine.Illegal || exact {
		return result, p
	}
	seen, _ = visible(slices.DeleteFunc(slices.Clone(all), (*operation).refused))
	if result, p = order(seen, end); result == porcupine.Illegal {
		return result, p
	}
	return order(all, end)
}

// bound ends open writes: if only one has written a value it has had its effect when somebody was answered who saw it.
func bound(all []*operation) {
	writer := make(map[string]*operation) // nil for values that several write, or that are there at the start
	writer[""] = nil
	for _, o := range all {
		if !o.writes() {
			continue
		}
		if _, several := writer[o.value]; several {
			writer[o.value] = nil
		} else {
			writer[o.value] = o
		}
	}
	for _, o := range all {
		if v, ok := o.observes(); ok && writer[v] != nil && writer[v].state == open {
			w := writer[v]
			w.returned = max(w.invoked, min(w.returned, o.returned))
		}
	}
}

// visible leaves out the open writes of values that nobody saw or wanted: they may as well not have happened. That is
// exact, unless somebody was told that a register did not have a value: one of them may have been why.
func visible(all []*operation) (seen []*operation, exact bool) {
	wanted := make(map[string]bool)
	exact = true
	for _, o := range all {
		switch {
		case o.reads():
			wanted[o.got] = true
		case o.call.Op == opCas:
			wanted[o.old] = true
			exact = exact && !o.refused()
		}
	}
	for _, o := range all {
		if o.state == done || wanted[o.value] {
			seen = append(seen, o)
		}
	}
	return seen, exact
}

// A part of the operations on a key has all that came before it behind itself, and that left the register at start.
type part struct {
	ops   []*operation
	start string
}

// order looks for one, part by part. Anything but Ok is about the part that is returned.
func order(all []*operation, end time.Time) (porcupine.CheckResult, part) {
	for _, p := range parts(all) {
		left := time.Until(end)
		if left > 0 && p.inOrder() {
			continue
		}
		if left <= 0 || len(p.ops) > maxPart {
			return porcupine.Unknown, p
		}
		if result := porcupine.CheckOperationsTimeout(p.model(), p.operations(), left); result != porcupine.Ok {
			return result, p
		}
	}
	return porcupine.Ok, part{}
}

// inOrder reports whether the order of the invocations will do. Mostly it does, and a search costs far more.
func (p part) inOrder() bool {
	now := any(p.start)
	step := p.model().Step
	for _, o := range p.ops {
		var ok bool
		if ok, now = step(now, o, nil); !ok {
			return false
		}
	}
	return true
}

// parts cuts the operations, in the order of their invocations, after each that overlaps no other and tells the state of the
// register. What a search costs grows faster than the part.
func parts(all []*operation) (cut []part) {
	from, start, latest := 0, "", time.Duration(-1)
	for i, o := range all {
		alone := latest < o.invoked && (i == len(all)-1 || o.returned < all[i+1].invoked)
		latest = max(latest, o.returned)
		if v, known := o.knows(); alone && known {
			cut = append(cut, part{all[from : i+1], start})
			from, start = i+1, v
		}
	}
	if from < len(all) {
		cut = append(cut, part{all[from:], start})
	}
	return cut
}

// model is a register. States are strings, and outputs a part of the operation.
func (p part) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return p.start },
		Step: func(state, input, _ any) (bool, any) {
			o, now := input.(*operation), state.(string)
			match := o.call.Op == opPut || o.call.Op == opCas && now == o.old
			switch {
			case o.reads():
				return now == o.got, state
			case o.call.Op == opCas && o.state == done && match != o.swapped:
				return false, state
			case match:
				return true, o.value
			}
			return true, state
		},
	}
}

func (p part) operations() []porcupine.Operation {
	ops := make([]porcupine.Operation, len(p.ops))
	for i, o := range p.ops {
		ops[i] = porcupine.Operation{Input: o, Call: int64(o.invoked), Return: int64(o.returned)}
	}
	return ops
}

// explain says where the order breaks off, and the first operation that has no place in it.
func explain(key string, p part, r *ruling) {
	last := p.ops[0].invoked
	for _, o := range p.ops {
		last = max(last, o.invoked)
	}
	r.breaks("key %q: %s from %s to %s have no order", key, count(len(p.ops), "operation"), at(p.ops[0].invoked), at(last))
	longest := p.longest()
	placed := make(map[*operation]bool)
	for _, o := range longest {
		placed[o] = true
	}
	var odd *operation
	for _, o := range p.ops {
		if !placed[o] && (odd == nil || o.returned < odd.returned) {
			odd = o
		}
	}
	if odd != nil {
		r.broken.more("key %q: no place for %v", key, odd)
	}
	if n := len(longest); n > 0 {
		r.broken.more("key %q: the order that goes furthest ends with %v", key, longest[n-1])
	}
}

// longest returns the order that goes furthest.
func (p part) longest() (ops []*operation) {
	var found []porcupine.Operation
	_, info := porcupine.CheckOperationsVerbose(p.model(), p.operations(), explainTime)
	for _, l := range info.PartialLinearizationsOperations()[0] {
		if len(l) > len(found) {
			found = l
		}
	}
	for _, o := range found {
		ops = append(ops, o.Input.(*operation))
	}
	return ops
}
