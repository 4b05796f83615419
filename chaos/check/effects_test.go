package check_test

import (
	"encoding/json"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

func TestMoney(t *testing.T) {
	read := func(out string) func(*history.History) {
		return func(h *history.History) { find(h, "5", history.Usual).Output = json.RawMessage(out) }
	}
	judge(t, "I1", []change{
		{"good", func(*history.History) {}, check.Holds, "2 reads, 3 final balances, 3 entries"},
		{"a read with less", read(`{"balances":[90,110,99]}`), check.Broken, "the accounts have 299 together, want 300"},
		{"a read with an overdrawn account", read(`{"balances":[-10,210,100]}`), check.Broken, "account 0 has -10"},
		{"a read of too few accounts", read(`{"balances":[200,100]}`), check.Broken, "2 accounts, want 3"},
		{"a read of nothing", read(`{}`), check.Broken, "no accounts, want 3"},
		{"a reply that is not JSON", read(`{"balances`), check.Broken, "cannot be read"},
		{"a read that failed", func(h *history.History) {
			c := find(h, "5", history.Usual)
			c.Outcome, c.Output = history.Ambiguous, nil
		}, check.Holds, "1 read,"},
		{"money made", func(h *history.History) { h.Balances[0]++ }, check.Broken, "301 together"},
		{"money moved, without an entry", func(h *history.History) { h.Balances[0]--; h.Balances[1]++ }, check.Broken, "account 0 has 90, but 91 by the ledger"},
		{"an entry without its money", func(h *history.History) { h.Entries[0].Amount++ }, check.Broken, "by the ledger"},
		{"an entry of no account", func(h *history.History) { h.Entries[0].To = 3 }, check.Broken, "no such account"},
		{"an effect twice", func(h *history.History) {
			h.Run.Promise = history.AtLeastOnce
			h.Entries = append(h.Entries, h.Entries[0])
			h.Balances[0] -= 10
			h.Balances[1] += 10
		}, check.Holds, "4 entries"},
		{"no end", func(h *history.History) { h.Balances = nil }, check.Inconclusive, "not read"},
		{"no bank", func(h *history.History) { h.Calls, h.Balances = nil, nil }, check.NotChecked, ""},
	})
}

// unread is what a run leaves that was killed before it had read the ledger.
func unread(h *history.History) { h.Entries, h.Balances = nil, nil }

func TestEffects(t *testing.T) {
	judge(t, "I2", []change{
		{"good", func(*history.History) {}, check.Holds, "3 ok transfers"},
		{"an effect is lost", func(h *history.History) { h.Entries = h.Entries[1:] }, check.Broken, `call 1 of bank by caller 1 at 1.000 s: transfer of tag "t1"`},
		{"the whole ledger is", func(h *history.History) { h.Entries = nil }, check.Broken, "3 broken"},
		{"a rejected call was ok", func(h *history.History) { find(h, "2", history.Usual).Outcome = history.OK }, check.Broken, `"t2"`},
		{"an effect of an ambiguous call is not there", func(h *history.History) { h.Entries = append(h.Entries[:1], h.Entries[2]) }, check.Holds, ""},
		{"no transfers", func(h *history.History) { h.Calls = h.Calls[8:12] }, check.NotChecked, "no ok transfers"},
		{"none was ok", func(h *history.History) { h.Calls = h.Calls[1:4] }, check.Inconclusive, "none of 3 transfers was ok"},
		{"the run was cut short", unread, check.Inconclusive, "not read to its end"},
	})
}

func TestCalledFor(t *testing.T) {
	more := func(e history.Entry) func(*history.History) {
		return func(h *history.History) { h.Entries = append(h.Entries, e) }
	}
	judge(t, "I3", []change{
		{"good", func(*history.History) {}, check.Holds, "3 entries"},
		{"nobody called", more(history.Entry{Seq: 4, Call: "?", Tag: "t9"}), check.Broken, `entry 4 of the ledger, of call ? and tag "t9"`},
		{"no tag", more(history.Entry{Seq: 4}), check.Broken, `tag ""`},
		{"its caller was killed", more(history.Entry{Seq: 4, Call: "4", Tag: "t4", From: 0, To: 2, Amount: 7}), check.Holds, "4 entries"},
		{"a rejected call", more(history.Entry{Seq: 4, Call: "2", Tag: "t2", From: 0, To: 2, Amount: 7}), check.Holds, "4 entries"}, // is I4
		{"another amount", func(h *history.History) { h.Entries[0].Amount = 11 }, check.Broken, `entry 1 of the ledger, of call 1 and tag "t1", moves 11 from 0 to 1, but the call is to move 10 from 0 to 1`},
		{"other accounts", func(h *history.History) { h.Entries[0].From, h.Entries[0].To = 1, 0 }, check.Broken, "moves 10 from 1 to 0"},
		{"another call's", func(h *history.History) { h.Entries[0].Call = "3" }, check.Broken, `entry 1 of the ledger is of call 3, but tag "t1" is that of call 1`},
		{"money for a get", more(history.Entry{Seq: 4, Call: "7", Tag: "7", From: 0, To: 1, Amount: 1}), check.Broken, "moves 1 from 0 to 1"},
		{"a write of a register", more(history.Entry{Seq: 4, Call: "6", Tag: "6"}), check.Holds, "4 entries"},
		{"no ledger", func(h *history.History) { h.Entries = nil }, check.NotChecked, "no entries"},
		{"the run was cut short", unread, check.Inconclusive, "not read to its end"},
	})
}

func TestRejected(t *testing.T) {
	effect := func(h *history.History) { h.Entries = append(h.Entries, history.Entry{Seq: 4, Tag: "t2"}) }
	refusal := func(h *history.History) { h.Entries = append(h.Entries, history.Entry{Seq: 4, Tag: "late0s"}) }
	again := func(o history.Outcome) func(h *history.History) {
		return func(h *history.History) {
			effect(h)
			c := *find(h, "2", history.Usual)
			c.Kind, c.Outcome = history.Again, o
			h.Calls = append(h.Calls, c)
		}
	}
	judge(t, "I4", []change{
		{"good", func(*history.History) {}, check.Holds, "2 rejected calls"},
		{"it had an effect", effect, check.Broken, `call 2 of bank by caller 1 at 1.300 s: transfer of tag "t2"`},
		{"and was rejected again", again(history.Rejected), check.Broken, "2 broken"},
		{"and was ok when asked again", again(history.OK), check.Holds, "1 rejected call"},
		{"and was ambiguous when asked again", again(history.Ambiguous), check.Holds, ""},
		{"asked again by one that was killed", again(history.Lost), check.Holds, ""},
		{"and was ambiguous before", func(h *history.History) {
			again(history.Ambiguous)(h)
			last := len(h.Calls) - 1
			h.Calls[1], h.Calls[last] = h.Calls[last], h.Calls[1]
		}, check.Holds, "1 rejected call"},
		{"a misuse had an effect", func(h *history.History) { h.Entries[0].Tag = "m1" }, check.Broken, `"m1"`},
		{"a handler's refusal had one", refusal, check.Broken, `tag "late0s" ended failed at 20.600 s (failed_precondition), but is in the ledger`},
		{"and was ambiguous when asked again", func(h *history.History) {
			refusal(h)
			c := *find(h, "late0s", history.Usual)
			c.Kind, c.Outcome, c.Code = history.Again, history.Ambiguous, ""
			h.Calls = append(h.Calls, c)
		}, check.Broken, "1 broken"},
		{"a refusal, at least once", func(h *history.History) { h.Run.Promise = history.AtLeastOnce; refusal(h) }, check.Holds, "no refusals"},
		{"a failure that is none", func(h *history.History) { refusal(h); find(h, "late0s", history.Usual).Code = "internal" }, check.Holds, "3 refusals"},
		{"none rejected", func(h *history.History) { h.Calls = h.Calls[:1] }, check.NotChecked, ""},
		{"the run was cut short", unread, check.Inconclusive, "not read to its end"},
	})
}

func TestTwice(t *testing.T) {
	twice := func(p history.Promise) func(*history.History) {
		return func(h *history.History) {
			h.Run.Promise = p
			h.Entries = append(h.Entries, history.Entry{Seq: 4, Call: "1", Tag: "t1"})
		}
	}
	judge(t, "I5", []change{
		{"good", func(*history.History) {}, check.Holds, "3 entries"},
		{"twice", twice(history.ExactlyOnce), check.Broken, `entry 4 of the ledger, of call 1 and tag "t1": entry 1`},
		{"three times", func(h *history.History) { twice(history.ExactlyOnce)(h); h.Entries = append(h.Entries, h.Entries[3]) }, check.Broken, "2 broken"},
		{"twice, at least once", twice(history.AtLeastOnce), check.Holds, "1 duplicate, which is allowed"},
		{"no ledger", func(h *history.History) { h.Entries = nil }, check.NotChecked, ""},
		{"the run was cut short", unread, check.Inconclusive, "not read to its end"},
	})
}
