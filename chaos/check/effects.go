package check

import "github.com/rabbitrpc/rabbitrpc/chaos/history"

// checkEffects is I2: what a caller was told has happened, has.
func checkEffects(x *index, r *ruling) {
	n := 0
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Op != opTransfer || c.Outcome != history.OK {
			continue
		}
		n++
		if x.effects[c.Tag] == 0 {
			r.breaks("%s of tag %q was ok at %s, answered by %s, but is not in the ledger", who(c), c.Tag, at(c.Returned), c.Server)
		}
	}
	r.saw(n, "ok transfer")
}

// checkCalledFor is I3: nothing is in the ledger that nobody asked for. Whoever was killed, or told no, has asked.
func checkCalledFor(x *index, r *ruling) {
	for i := range x.Entries {
		e := &x.Entries[i]
		if _, called := x.rejected[e.Tag]; !called {
			r.breaks("entry %d of the ledger, of call %s and tag %q: nobody has made such a call", e.Seq, e.Call, e.Tag)
		}
	}
	r.saw(len(x.Entries), "entry")
}

// checkRejected is I4: "executed no" is true in the end, unless the caller has asked again, and got another answer.
func checkRejected(x *index, r *ruling) {
	n := 0
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Outcome != history.Rejected || !x.rejected[c.Tag] {
			continue
		}
		n++
		if x.effects[c.Tag] > 0 {
			r.breaks("%s of tag %q was rejected at %s (%s), but is in the ledger", who(c), c.Tag, at(c.Returned), c.Code)
		}
	}
	r.saw(n, "rejected call")
}

// checkTwice is I5.
func checkTwice(x *index, r *ruling) {
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
