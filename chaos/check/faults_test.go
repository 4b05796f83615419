package check_test

import (
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

func found(kind, text string) func(*history.History) {
	return func(h *history.History) {
		h.Findings = append(h.Findings, history.Finding{Kind: kind, Where: "server-1.log:12", Text: text})
	}
}

func unsearched(h *history.History) { h.Inventories = h.Inventories[:2] }

func TestSecrets(t *testing.T) {
	judge(t, "I18", []change{
		{"good", func(*history.History) {}, check.Holds, "17 calls, no findings"},
		{"one", found("secret", "hunter2"), check.Broken, `a secret in "server-1.log:12"`},
		{"two", func(h *history.History) { found("secret", "")(h); found("secret", "")(h) }, check.Broken, "2 broken"},
		{"something else", found("panic", "boom"), check.Holds, ""},
		{"nobody has looked", unsearched, check.NotChecked, "no log was searched"},
		{"nobody has looked in the logs", func(h *history.History) { unsearched(h); found("secret", "")(h) }, check.Broken, "a secret"},
	})
	h := good()
	found("secret", "hunter2")(h)
	for _, v := range check.All(h) {
		if strings.Contains(strings.Join(v.Evidence, ""), "hunter2") {
			t.Errorf("%s repeats the secret: %q", v.Invariant, v.Evidence)
		}
	}
}

func TestFindings(t *testing.T) {
	judge(t, "I19", []change{
		{"good", func(*history.History) {}, check.Holds, "17 calls, no findings"},
		{"tag", found("unknown delivery tag", "PRECONDITION_FAILED"), check.Broken, `unknown delivery tag in "server-1.log:12": "PRECONDITION_FAILED"`},
		{"panic", found("panic", "boom\x1b[2J"), check.Broken, `"boom\x1b[2J"`},
		{"data race", found("data race", strings.Repeat("x", 1000)), check.Broken, `xxx"...`},
		{"a kind that nobody knows yet", found("deadlock", ""), check.Broken, "deadlock"},
		{"a secret", found("secret", ""), check.Holds, ""},
		{"nobody has looked", unsearched, check.NotChecked, "no log was searched"},
	})
}

// A run that shows nothing is not broken: it is inconclusive, so that judge would ask too much.
func TestBites(t *testing.T) {
	for _, c := range []change{
		{"good", func(*history.History) {}, check.Holds, "kill: 1, replays: 1, 3 faults, 5 effects"},
		{"a fault without effect", func(h *history.History) { h.Faults[1].Bites = 0 }, check.Inconclusive, `cut of clients from 2.500 s to 3.500 s had no effect: "cut"`},
		{"a fault that went wrong", func(h *history.History) { h.Faults[2].Error = "no such process" }, check.Inconclusive, `pause of broker at 20.000 s went wrong itself: "no such process"`},
		{"what must happen did not", func(h *history.History) { h.Run.MustBite = []string{"reconnects"} }, check.Inconclusive, "no reconnects, which the run is about"},
		{"no fault of a kind", func(h *history.History) { h.Run.MustBite = []string{"half-open"} }, check.Inconclusive, "no half-open"},
		{"one of three that chance has picked", byChance(0), check.Holds, "1 fault that chance has picked had no effect"},
		{"two of three", byChance(0, 1), check.Inconclusive, "2 of the 3 faults that chance has picked had no effect"},
		{"no calls", func(h *history.History) { h.Calls, h.Run.MustBite = nil, nil }, check.Inconclusive, "no call was made"},
		{"no faults", func(h *history.History) { h.Faults, h.Run.MustBite = nil, nil }, check.Inconclusive, "nothing was broken"},
		{"no faults, but replays", func(h *history.History) { h.Faults, h.Run.MustBite = nil, []string{"replays"} }, check.Holds, "replays: 1"},
	} {
		h := good()
		c.do(h)
		v := verdict(t, h, "I20")
		if text := v.Detail + strings.Join(v.Evidence, "\n"); v.Result != c.want || !strings.Contains(text, c.says) {
			t.Errorf("%s: %s, want %s saying %q\n%s", c.name, v.Result, c.want, c.says, text)
		}
	}
}

// byChance has chance pick all faults, and those with the indexes have no effect.
func byChance(idle ...int) func(*history.History) {
	return func(h *history.History) {
		h.Run.MustBite = nil
		for i := range h.Faults {
			h.Faults[i].Chance = true
		}
		for _, i := range idle {
			h.Faults[i].Bites = 0
		}
	}
}

func TestFailures(t *testing.T) {
	with := func(id string, k history.Kind, o history.Outcome) func(*history.History) {
		return func(h *history.History) {
			h.Run.MustBeOK = true
			for i := range h.Calls {
				h.Calls[i].Outcome = history.OK
			}
			find(h, id, k).Outcome = o
		}
	}
	judge(t, "I21", []change{
		{"not asked for", func(*history.History) {}, check.NotChecked, "some may"},
		{"all ok", with("1", history.Usual, history.OK), check.Holds, "17 calls"},
		{"a misuse", with("1", history.Misuse, history.Rejected), check.Holds, "17 calls"},
		{"rejected", with("3", history.Usual, history.Rejected), check.Broken, "call 3 of bank by caller 1 at 1.600 s: transfer ended rejected at 1.800 s"},
		{"lost", with("3", history.Usual, history.Lost), check.Broken, "1 broken"},
		{"ambiguous again", with("1", history.Again, history.Ambiguous), check.Broken, "1 broken"},
		{"no calls", func(h *history.History) { h.Run.MustBeOK, h.Calls = true, nil }, check.NotChecked, "no calls"},
	})
}
