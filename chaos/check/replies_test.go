package check_test

import (
	"encoding/json"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

func answer(id string, k history.Kind, out string) func(*history.History) {
	return func(h *history.History) { find(h, id, k).Output = json.RawMessage(out) }
}

func TestReplies(t *testing.T) {
	judge(t, "I6", []change{
		{"good", func(*history.History) {}, check.Holds, "7 replies"},
		{"another call's", answer("1", history.Usual, `{"tag":"t3","entry":"a"}`), check.Broken, `transfer of tag "t1" got the reply to tag "t3" at 1.200 s`},
		{"another read's", answer("7", history.Usual, `{"tag":"9","value":"v1"}`), check.Broken, `tag "7" got the reply to tag "9"`},
		{"nobody's", answer("6", history.Usual, `{}`), check.Broken, `tag ""`},
		{"nothing", answer("6", history.Usual, ``), check.Broken, "cannot be read"},
		{"no replies", func(h *history.History) { h.Calls = h.Calls[1:4] }, check.NotChecked, ""},
	})
}

func TestSame(t *testing.T) {
	other := answer("1", history.Again, `{"tag":"t1","entry":"z"}`)
	refuse := func(k history.Kind) func(*history.History) {
		return func(h *history.History) {
			c := find(h, "1", k)
			c.Outcome, c.Code, c.Output = history.Failed, "failed_precondition", nil
		}
	}
	judge(t, "I7", []change{
		{"good", func(*history.History) {}, check.Holds, "1 reply"},
		{"another execution's", other, check.Broken, `{\"tag\":\"t1\",\"entry\":\"z\"}`},
		{"the same, in other bytes", answer("1", history.Again, `{"entry":"a","tag":"t1"}`), check.Broken, "1 broken"},
		{"another's, at least once", func(h *history.History) { h.Run.Promise = history.AtLeastOnce; other(h) }, check.Holds, "1 another one, which is allowed"},
		{"refused the second time", refuse(history.Again), check.Broken, `got failed_precondition at 2.700 s, but "{\"tag\":\"t1\",\"entry\":\"a\"}" was the answer`},
		{"refused the first time", refuse(history.Usual), check.Broken, "failed_precondition was the answer"},
		{"refused, at least once", func(h *history.History) { h.Run.Promise = history.AtLeastOnce; refuse(history.Again)(h) }, check.Holds, "1 another one, which is allowed"},
		{"refused both times", func(h *history.History) { refuse(history.Usual)(h); refuse(history.Again)(h) }, check.Holds, "1 reply"},
		{"the second failed", func(h *history.History) { other(h); find(h, "1", history.Again).Outcome = history.Ambiguous }, check.NotChecked, "no replies"},
		{"of another client", func(h *history.History) { other(h); find(h, "1", history.Again).Client = "shop" }, check.NotChecked, ""},
	})
}

func TestMisuse(t *testing.T) {
	end := func(o history.Outcome) func(*history.History) {
		return func(h *history.History) { find(h, "1", history.Misuse).Outcome = o }
	}
	effect := func(h *history.History) { h.Entries[1].Tag = "m1" }
	both := func(a, b func(*history.History)) func(*history.History) {
		return func(h *history.History) { a(h); b(h) }
	}
	free := func(h *history.History) {
		h.Entries = h.Entries[1:]
		find(h, "1", history.Usual).Outcome = history.Rejected
		find(h, "1", history.Again).Outcome = history.Rejected
	}
	judge(t, "I16", []change{
		{"good", func(*history.History) {}, check.Holds, "1 call"},
		{"ok", end(history.OK), check.Broken, `transfer of tag "m1" ran (ok, no entries in the ledger), but its ID was that of tag "t1"`},
		{"ran and said no", end(history.Failed), check.Broken, "ran (failed"},
		{"in the ledger", effect, check.Broken, "ran (rejected, 1 entry in the ledger)"},
		{"in the ledger, after it was killed", both(effect, end(history.Lost)), check.Broken, "ran (lost"},
		{"ambiguous, without effect", end(history.Ambiguous), check.Holds, ""},
		{"the one before never ran", both(free, end(history.OK)), check.NotChecked, "1 more whose ID was free"},
		{"the one before was ambiguous, but ran", func(h *history.History) {
			free(h)
			find(h, "1", history.Usual).Outcome = history.Ambiguous
			h.Entries[0].Tag = "t1"
			end(history.OK)(h)
		}, check.Broken, "ran"},
		{"ok, at least once", func(h *history.History) { h.Run.Promise = history.AtLeastOnce; end(history.OK)(h) }, check.Holds, "1 ran, which is allowed"},
	})
}

func TestOthers(t *testing.T) {
	judge(t, "I17", []change{
		{"good", func(*history.History) {}, check.Holds, "1 reply"},
		{"the first one's reply", answer("1", history.Other, `{"tag":"t1","entry":"a"}`), check.Broken, `call 1 of shop by caller 1 at 3.100 s: transfer of tag "o1" got the reply to tag "t1"`},
		{"an empty reply", answer("1", history.Other, `null`), check.Broken, `tag ""`},
		{"refused as a misuse", func(h *history.History) {
			c := find(h, "1", history.Other)
			c.Outcome, c.Code, c.Error = history.Rejected, "invalid_argument", "call ID used before"
		}, check.Broken, `transfer was refused at 3.300 s as the misuse of an ID that only another client has used: "call ID used before"`},
		{"refused for another reason", func(h *history.History) {
			c := find(h, "1", history.Other)
			c.Outcome, c.Code = history.Rejected, "unavailable"
		}, check.NotChecked, ""},
		{"none", func(h *history.History) { find(h, "1", history.Other).Kind = history.Usual }, check.NotChecked, "no replies"},
	})
}
