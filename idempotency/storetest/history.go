package storetest

import "github.com/rabbitrpc/rabbitrpc/rpc"

// history is what has become of a call according to the promise of its store.
type history struct {
	survives   Promise
	atMostOnce bool

	effects int     // that last
	claims  int     // that have not ended
	stored  *answer // nil if there is none
}

// process adds a process that runs the call and is killed after a step, unless that is "". It returns what the process
// answers, or nil if it is killed before it can.
func (h *history) process(n int, killed Step) *answer {
	if h.survives == Nothing {
		h.stored, h.claims = nil, 0
	}
	if h.stored != nil {
		replayed := *h.stored
		replayed.Replayed = replayed.Code == rpc.OK
		return &replayed
	}
	if killed == Delivered {
		return nil
	}
	h.claims++
	if killed == Claimed {
		return h.die()
	}
	a := answer{ID: callID(1), Code: rpc.OK, Executed: rpc.ExecutedYes, Body: body(n), Claims: h.claims}
	if h.claims > 1 && h.atMostOnce {
		a = answer{ID: callID(1), Code: rpc.Unavailable, Executed: rpc.ExecutedUnknown}
	} else {
		if killed == Entered {
			return h.die()
		}
		h.effects++
		if killed == Applied {
			h.undo()
			return h.die()
		}
	}
	if killed == Answered {
		if a.Code == rpc.OK {
			h.undo()
		}
		return h.die()
	}
	kept := a
	kept.Claims = 0 // nobody counts for a replay
	h.stored = &kept
	if killed == Stored {
		return nil
	}
	return &a
}

// die ends a process that holds a claim.
func (h *history) die() *answer {
	if h.survives == Effects {
		h.claims = 0
	}
	return nil
}

// undo takes the last effect back if the store does that.
func (h *history) undo() {
	if h.survives == Effects {
		h.effects--
	}
}
