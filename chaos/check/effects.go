package check

import (
	"encoding/json"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// checkEffects is I2: what a caller was told has happened, has.
func checkEffects(x *index, r *ruling) {
	if x.unread(r) {
		return
	}
	n := 0
	var last *history.Call
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Op != opTransfer {
			continue
		}
		if last = c; c.Outcome != history.OK {
			continue
		}
		n++
		if x.effects[c.Tag] == 0 {
			r.breaks("%s of tag %q was ok at %s, answered by %s, but is not in the ledger", who(c), c.Tag, at(c.Returned), c.Server)
		}
	}
	r.saw(n, "ok transfer")
	if n == 0 && x.transfers > 0 {
		r.doubts("none of %s was ok: there is no effect to look for. %s", count(x.transfers, "transfer"), ending(last))
	}
}

// checkCalledFor is I3: nothing is in the ledger that nobody asked for, or for another call. Whoever was killed, or told no, has
// asked.
func checkCalledFor(x *index, r *ruling) {
	if x.unread(r) {
		return
	}
	asked := make(map[string]*history.Call, len(x.effects))
	for i := range x.Calls {
		if c := &x.Calls[i]; c.Tag != "" && x.effects[c.Tag] > 0 {
			asked[c.Tag] = c
		}
	}
	for i := range x.Entries {
		e := &x.Entries[i]
		c := asked[e.Tag]
		switch {
		case c == nil:
			r.breaks("entry %d of the ledger, of call %s and tag %q: nobody has made such a call", e.Seq, e.Call, e.Tag)
		case e.Call != "" && e.Call != c.ID:
			r.breaks("entry %d of the ledger is of call %s, but tag %q is that of call %s", e.Seq, e.Call, e.Tag, c.ID)
		case len(c.Input) > 0:
			compareMove(e, c, r)
		}
	}
	r.saw(len(x.Entries), "entry")
}

// compareMove compares an entry with what its call asked for: that of a register moves nothing.
func compareMove(e *history.Entry, c *history.Call, r *ruling) {
	var want struct {
		From, To int
		Amount   int64
	}
	switch err := json.Unmarshal(c.Input, &want); {
	case err != nil:
		r.breaks("%s: its input cannot be read: %s", who(c), short(c.Input))
	case e.From != want.From || e.To != want.To || e.Amount != want.Amount:
		r.breaks("entry %d of the ledger, of call %s and tag %q, moves %d from %d to %d, but the call is to move %d from %d to %d",
			e.Seq, e.Call, e.Tag, e.Amount, e.From, e.To, want.Amount, want.From, want.To)
	}
}

// checkRejected is I4: "executed no" is true in the end, unless the caller has asked again, and got another answer. So is the
// refusal of a handler, for good where it is remembered.
func checkRejected(x *index, r *ruling) {
	if x.unread(r) {
		return
	}
	rejected, refusals := 0, 0
	for i := range x.Calls {
		c := &x.Calls[i]
		switch {
		case c.Outcome == history.Rejected && x.rejected[c.Tag]:
			rejected++
		case refusedBy(c) && x.strict():
			refusals++
		default:
			continue
		}
		if x.effects[c.Tag] > 0 {
			r.breaks("%s of tag %q ended %s at %s (%s), but is in the ledger", who(c), c.Tag, c.Outcome, at(c.Returned), c.Code)
		}
	}
	r.saw(rejected, "rejected call")
	r.saw(refusals, "refusal")
}

// checkTwice is I5.
func checkTwice(x *index, r *ruling) {
	if x.unread(r) {
		return
	}
	first := make(map[string]int64, len(x.effects))
	for i := range x.Entries {
		e := &x.Entries[i]
		if seq, again := first[e.Tag]; !again {
			first[e.Tag] = e.Seq
		} else if x.strict() {
			r.breaks("entry %d of the ledger, of call %s and tag %q: entry %d was its effect already", e.Seq, e.Call, e.Tag, seq)
		}
	}
	r.saw(len(x.Entries), "entry")
	if n := len(x.Entries) - len(first); !x.strict() {
		r.note("%s, which is allowed", count(n, "duplicate"))
	}
}
