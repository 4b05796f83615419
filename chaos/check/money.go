package check

import (
	"encoding/json"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// checkMoney is I1: all accounts, whenever they are read, add up to what was there at the start, and none is overdrawn. In
// the end each holds what the ledger says.
func checkMoney(x *index, r *ruling) {
	reads := 0
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Op != opAccounts || c.Outcome != history.OK {
			continue
		}
		reads++
		var out struct {
			Balances []int64 `json:"balances"`
		}
		if err := json.Unmarshal(c.Output, &out); err != nil {
			r.breaks("%s is ok, but its reply cannot be read: %s", who(c), short(c.Output))
		} else if wrong := x.miscount(out.Balances); wrong != "" {
			r.breaks("%s: %s", who(c), wrong)
		}
	}
	r.saw(reads, "read")
	switch {
	case x.Balances != nil:
		r.saw(len(x.Balances), "final balance")
		x.checkBalances(r)
	case x.transfers > 0 || reads > 0:
		r.doubts("the balances at the end were not read")
	}
}

// miscount says what is wrong with balances that were read together.
func (x *index) miscount(balances []int64) string {
	if len(balances) != x.Run.Accounts {
		return count(len(balances), "account") + ", want " + digits(x.Run.Accounts)
	}
	sum := int64(0)
	for i, b := range balances {
		if b < 0 {
			return "account " + digits(i) + " has " + digits(int(b))
		}
		sum += b
	}
	if want := int64(x.Run.Accounts) * x.Run.Opening; sum != want {
		return "the accounts have " + digits(int(sum)) + " together, want " + digits(int(want))
	}
	return ""
}

// checkBalances compares the final balances with the ledger.
func (x *index) checkBalances(r *ruling) {
	if wrong := x.miscount(x.Balances); wrong != "" {
		r.breaks("at the end: %s", wrong)
	}
	want := make([]int64, len(x.Balances))
	for i := range want {
		want[i] = x.Run.Opening
	}
	for i := range x.Entries {
		e := &x.Entries[i]
		if e.Amount == 0 {
			continue // a write of a register
		}
		if e.From < 0 || e.From >= len(want) || e.To < 0 || e.To >= len(want) {
			r.breaks("entry %d of the ledger, of tag %q, moves %d from account %d to %d: there is no such account", e.Seq, e.Tag, e.Amount, e.From, e.To)
			continue
		}
		want[e.From] -= e.Amount
		want[e.To] += e.Amount
	}
	r.saw(len(x.Entries), "entry")
	for i, got := range x.Balances {
		if got != want[i] {
			r.breaks("at the end account %d has %d, but %d by the ledger", i, got, want[i])
		}
	}
}
