package check

import (
	"bytes"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// checkReplies is I6.
func checkReplies(x *index, r *ruling) {
	r.saw(x.compareTags(r, func(*history.Call) bool { return true }), "reply")
}

// checkOthers is I17: a call that has the ID of another client's is answered for what it asked itself. It is not refused as if the
// ID were its own either.
func checkOthers(x *index, r *ruling) {
	for i := range x.Calls {
		if c := &x.Calls[i]; c.Kind == history.Other && c.Code == misused {
			r.breaks("%s was refused at %s as the misuse of an ID that only another client has used: %s", who(c), at(c.Returned), short(c.Error))
		}
	}
	n := x.compareTags(r, func(c *history.Call) bool { return c.Kind == history.Other })
	r.saw(n, "reply")
	if n > 0 {
		r.note("all to calls with an ID of another client's")
	}
}

// compareTags compares replies with their calls, and returns how many.
func (x *index) compareTags(r *ruling, among func(*history.Call) bool) (n int) {
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Outcome != history.OK || c.Op == opAccounts || !among(c) {
			continue
		}
		n++
		switch tag, err := tagOf(c.Output); {
		case err != nil:
			r.breaks("%s of tag %q got a reply at %s that cannot be read: %s", who(c), c.Tag, at(c.Returned), short(c.Output))
		case tag != c.Tag:
			r.breaks("%s of tag %q got the reply to tag %q at %s from %s", who(c), c.Tag, tag, at(c.Returned), c.Server)
		}
	}
	return n
}

// checkSame is I7: whoever asks again is told the same, to the byte.
func checkSame(x *index, r *ruling) {
	first := make(map[identity]int, len(x.Calls))
	calls, differ := 0, 0
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Outcome != history.OK && !refusedBy(c) {
			continue
		}
		j, again := first[identify(c)]
		if !again {
			first[identify(c)] = i
			continue
		}
		calls++
		before := &x.Calls[j]
		if c.Outcome == before.Outcome && bytes.Equal(c.Output, before.Output) {
			continue
		}
		if differ++; x.strict() {
			r.breaks("%s got %s at %s, but %s was the answer to %s before", who(c), answer(c), at(c.Returned), answer(before), before.Process)
		}
	}
	r.saw(calls, "reply")
	r.note("each to a call that had one before")
	if !x.strict() {
		r.note("%s another one, which is allowed", digits(differ))
	}
}

// answer is what a call was told, on a line.
func answer(c *history.Call) string {
	if c.Outcome == history.OK {
		return short(c.Output)
	}
	return c.Code
}

// checkMisuse is I16. The ID is taken once a call with it has run. If none has, since it was rejected say, the payload that
// comes first is the call.
func checkMisuse(x *index, r *ruling) {
	type id struct{ client, id string }
	misused := make(map[id]*history.Call) // ID -> a call with it that ran, and had the right to
	for i := range x.Calls {
		if c := &x.Calls[i]; c.Kind == history.Misuse {
			misused[id{c.Client, c.ID}] = nil
		}
	}
	for i := range x.Calls {
		c := &x.Calls[i]
		if at, ok := misused[id{c.Client, c.ID}]; ok && at == nil && c.Kind != history.Misuse && x.ran(c) {
			misused[id{c.Client, c.ID}] = c
		}
	}
	calls, free, ran := 0, 0, 0
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Kind != history.Misuse {
			continue
		}
		calls++
		owner := misused[id{c.Client, c.ID}]
		switch {
		case owner == nil:
			free++
		case x.ran(c) && x.strict():
			r.breaks("%s of tag %q ran (%s, %s in the ledger), but its ID was that of tag %q, made by %s at %s", who(c), c.Tag,
				c.Outcome, count(x.effects[c.Tag], "entry"), owner.Tag, owner.Process, at(owner.Invoked))
		case x.ran(c):
			ran++
		}
	}
	r.saw(calls-free, "call")
	r.note("all with a taken ID")
	if free > 0 {
		r.note("%s more whose ID was free", digits(free))
	}
	if !x.strict() {
		r.note("%s ran, which is allowed", digits(ran))
	}
}

// ran reports whether a call is known to have been executed.
func (x *index) ran(c *history.Call) bool {
	return c.Outcome == history.OK || c.Outcome == history.Failed || c.Tag != "" && x.effects[c.Tag] > 0
}
