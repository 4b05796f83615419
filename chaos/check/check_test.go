package check_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

func TestGood(t *testing.T) {
	h := good()
	all := check.All(h)
	for i, v := range all {
		want := check.Holds
		if v.Invariant == "I21" {
			want = check.NotChecked
		}
		if v.Invariant != fmt.Sprint("I", i+1) || v.Result != want {
			t.Errorf("%s %s: %s %q", v.Invariant, v.Result, v.Detail, v.Evidence)
		}
	}
	if err := check.Sound(all); err != nil {
		t.Errorf("Sound = %v", err)
	}
	if !reflect.DeepEqual(h, good()) {
		t.Error("the history was changed")
	}
}

// What was written and read back is judged as what was seen.
func TestGoodFromFile(t *testing.T) {
	h := good()
	name := filepath.Join(t.TempDir(), "history")
	w, err := history.Create(name, h.Run)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range h.Calls {
		w.Call(c)
	}
	for _, e := range h.Entries {
		w.Entry(e)
	}
	w.Balances(h.Balances)
	seen, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	read, err := history.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := check.All(read), check.All(seen); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestNothing(t *testing.T) {
	for _, v := range check.All(new(history.History)) {
		want := check.NotChecked
		if v.Invariant == "I20" {
			want = check.Inconclusive
		}
		if v.Result != want {
			t.Errorf("%s of nothing: %s, want %s (%s)", v.Invariant, v.Result, want, v.Detail)
		}
	}
}

func TestSound(t *testing.T) {
	of := func(results ...check.Result) (v []check.Verdict) {
		for i, r := range results {
			v = append(v, check.Verdict{Invariant: fmt.Sprint("I", i+1), Result: r})
		}
		return v
	}
	for _, c := range []struct {
		name     string
		verdicts []check.Verdict
		want     string
	}{
		{"all hold", of(check.Holds, check.Holds), "<nil>"},
		{"some not checked", of(check.NotChecked, check.Holds), "<nil>"},
		{"broken", of(check.Broken, check.Holds, check.Broken), "broken: I1, I3"},
		{"inconclusive", of(check.Holds, check.Inconclusive), "inconclusive: I2"},
		{"both", of(check.Inconclusive, check.Broken), "broken: I2; inconclusive: I1"},
		{"nothing", nil, "nothing was checked"},
		{"nothing to look at", of(check.NotChecked), "nothing was checked"},
	} {
		if got := fmt.Sprint(check.Sound(c.verdicts)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A million broken calls make five lines of evidence each.
func TestEvidenceIsShort(t *testing.T) {
	h := good()
	for i := range 1000 {
		c := call(fmt.Sprint("x", i), "transfer", fmt.Sprint("x", i), `{"tag":"wrong"}`)
		h.Calls = append(h.Calls, c)
	}
	for _, id := range []string{"I2", "I6"} {
		if v := verdict(t, h, id); len(v.Evidence) != 5 || v.Result != check.Broken {
			t.Errorf("%s: %s, %d lines of evidence, want 5", id, v.Result, len(v.Evidence))
		}
	}
}

// ExampleAll judges a run in which a caller was told of a transfer that the ledger does not have.
func ExampleAll() {
	h := &history.History{
		Run: history.Run{Promise: history.ExactlyOnce, Accounts: 2, Opening: 100},
		Calls: []history.Call{{
			ID: "9f2", Client: "bank", Process: "caller 7", Op: "transfer", Tag: "t1", Server: "server-1", Invoked: 1200 * ms,
			Returned: 1300 * ms, Deadline: 11200 * ms, Outcome: history.OK, Output: json.RawMessage(`{"entry":"e1","tag":"t1"}`),
		}},
		Faults:   []history.Fault{{Name: "kill", Target: "server-1", From: 1250 * ms, To: 1260 * ms, Bites: 1}},
		Balances: []int64{100, 100},
	}
	all := check.All(h)
	fmt.Println(check.Sound(all))
	for _, v := range all {
		if v.Result == check.Broken {
			fmt.Printf("%s %s: %s\n%s\n", v.Invariant, v.Title, v.Detail, v.Evidence[0])
		}
	}
	// Output:
	// broken: I2
	// I2 The effect of each ok call is there: 1 ok transfer, 1 broken
	// call 9f2 of bank by caller 7 at 1.200 s: transfer of tag "t1" was ok at 1.300 s, answered by server-1, but is not in the ledger
}
