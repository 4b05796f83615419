package check

import (
	"encoding/json"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// Operations of the services under test.
const (
	opTransfer = "transfer"
	opAccounts = "accounts"
	opPut      = "put"
	opGet      = "get"
	opCas      = "cas"
)

// refused is the code with which a handler says no on its own account, before it does anything.
const refused = "failed_precondition"

// misused is the code of a call whose ID the same client has used for another payload.
const misused = "invalid_argument"

// An index is a history with what several checks look up.
type index struct {
	*history.History
	transfers int             // that were called for
	effects   map[string]int  // tag -> entries in the ledger
	rejected  map[string]bool // tag that was called for -> all calls with it were rejected
}

func newIndex(h *history.History) *index {
	x := &index{History: h, effects: make(map[string]int, len(h.Entries)), rejected: make(map[string]bool, len(h.Calls))}
	for i := range h.Entries {
		x.effects[h.Entries[i].Tag]++
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		if c.Op == opTransfer {
			x.transfers++
		}
		if c.Tag == "" {
			continue
		}
		before, known := x.rejected[c.Tag]
		x.rejected[c.Tag] = c.Outcome == history.Rejected && (before || !known)
	}
	return x
}

// unread reports whether the ledger was not read to its end, after which come the balances: then it does not tell what is
// missing in it.
func (x *index) unread(r *ruling) bool {
	if x.Balances != nil || x.transfers == 0 {
		return false
	}
	r.doubts("the ledger was not read to its end")
	return true
}

// strict reports whether the memory promises that a call which has run is known, whatever happens to its servers.
func (x *index) strict() bool { return x.Run.Promise == history.ExactlyOnce }

// refusedBy reports whether a handler has said no to a call, which is an answer like any other: where a memory is kept, it is
// the same for all who ask.
func refusedBy(c *history.Call) bool { return c.Outcome == history.Failed && c.Code == refused }

// An identity is what servers know a call by, and its payload: a server answers the same to all calls that share it.
type identity struct{ client, id, tag string }

func identify(c *history.Call) identity { return identity{c.Client, c.ID, c.Tag} }

// tagOf returns the tag of a reply. A reply to a read of the accounts has none.
func tagOf(output json.RawMessage) (string, error) {
	var out struct {
		Tag string `json:"tag"`
	}
	err := json.Unmarshal(output, &out)
	return out.Tag, err
}
