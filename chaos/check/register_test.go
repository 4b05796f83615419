package check_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// A script makes a history of one register: an operation for each line, such as
//
//	put x 10 20       from 10 ms to 20 ms, ok
//	get x 30 40       it has read x; "-" is for a register that was never written
//	cas x y 50 60     it has swapped
//	cas! x y 70 80    it has not
//	put x 10 ?        ambiguous; "lost", "no", "refused" and "broke" are other ends without an answer
//
// Each has a tag and an ID of its own, unless the line ends with one, such as "=a". Those that have an effect are in the ledger.
func script(promise history.Promise, text string) *history.History {
	h := &history.History{Run: history.Run{Promise: promise}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		tag := fmt.Sprint("t", len(h.Calls))
		if id, ok := strings.CutPrefix(f[len(f)-1], "="); ok {
			tag, f = id, f[:len(f)-1]
		}
		c := history.Call{ID: tag, Client: "bank", Process: "caller 1", Tag: tag, Op: strings.TrimSuffix(f[0], "!"), Outcome: history.OK}
		in, out := map[string]any{"tag": tag, "key": "k"}, map[string]any{"tag": tag}
		switch c.Op {
		case "put":
			in["value"] = strings.ReplaceAll(f[1], "-", "")
		case "get":
			if out["value"] = f[1]; f[1] == "-" {
				out["value"] = nil
			}
		case "cas":
			in["old"], in["new"] = strings.ReplaceAll(f[1], "-", ""), f[2]
			out["swapped"] = f[0] == "cas"
		}
		c.Input, _ = json.Marshal(in)
		end := f[len(f)-1]
		fmt.Sscan(f[len(f)-2], (*int64)(&c.Invoked))
		if n, _ := fmt.Sscan(end, (*int64)(&c.Returned)); n == 1 {
			c.Output, _ = json.Marshal(out)
		}
		c.Invoked, c.Returned = c.Invoked*ms, c.Returned*ms
		switch end {
		case "?":
			c.Outcome = history.Ambiguous
		case "lost":
			c.Outcome = history.Lost
		case "no":
			c.Outcome = history.Rejected
		case "refused":
			c.Outcome, c.Code = history.Failed, "failed_precondition"
		case "broke":
			c.Outcome, c.Code = history.Failed, "internal"
		}
		if c.Outcome == history.OK && f[0] != "get" && f[0] != "cas!" {
			h.Entries = append(h.Entries, history.Entry{Seq: int64(len(h.Entries)), Tag: tag})
		}
		h.Calls = append(h.Calls, c)
	}
	return h
}

func TestRegisters(t *testing.T) {
	judge(t, "I15", []change{
		{"good", func(*history.History) {}, check.Holds, "4 operations, on 1 key"},
		{"a read of nothing", answer("7", history.Usual, `{"tag":"7","value":""}`), check.Broken, `key "k": 1 operation from 3.700 s`},
		{"an input that cannot be read", func(h *history.History) { find(h, "7", history.Usual).Input = nil }, check.Broken, "input cannot be read"},
		{"a reply that cannot be read", answer("7", history.Usual, `{"value`), check.Broken, "reply cannot be read"},
		{"none", func(h *history.History) { h.Calls = h.Calls[:8] }, check.NotChecked, "no operations"},
		{"none was ok", func(h *history.History) {
			for i := range h.Calls[8:12] {
				h.Calls[8+i].Outcome = history.Rejected
			}
		}, check.Inconclusive, "no put, get or cas was ever ok"},
	})
	for _, c := range []struct {
		name, script string
		want         check.Result
	}{
		{"in order", "get - 0 1 \n put a 2 3 \n get a 4 5 \n cas a b 6 7 \n cas! a c 8 9 \n get b 10 11", check.Holds},
		{"stale read", "put a 0 1 \n put b 2 3 \n get a 4 5", check.Broken},
		{"read of nothing after a write", "put a 0 1 \n get - 2 3", check.Broken},
		{"read from nowhere", "put a 0 1 \n get z 2 3", check.Broken},
		{"read of what is written later", "get a 0 1 \n put a 2 3", check.Broken},
		{"read at the time of a write, before it", "put a 0 1 \n put b 2 9 \n get a 3 4", check.Holds},
		{"and after it", "put a 0 1 \n put b 2 9 \n get b 3 4", check.Holds},
		{"and back", "put a 0 1 \n put b 2 9 \n get b 3 4 \n get a 5 6", check.Broken},
		{"touching intervals may be in any order", "put a 0 2 \n get - 2 3", check.Holds},
		{"and the next is after both", "put a 0 2 \n get - 2 3 \n get a 4 5", check.Holds},
		{"an ambiguous write of what was there", "get - 0 1 \n put - 2 ? \n get - 4 5 \n put a 6 7 \n get - 8 9", check.Holds},
		{"two swaps from one value", "put a 0 1 \n cas a b 2 9 \n cas a c 2 9", check.Broken},
		{"two swaps, one after the other", "put a 0 1 \n cas a b 2 9 \n cas b c 2 9", check.Holds},
		{"a swap from nothing", "cas - a 0 1 \n get a 2 3", check.Holds},
		{"a swap refused for no reason", "put a 0 1 \n cas! a b 2 3", check.Broken},
		{"a swap that was not, seen", "put a 0 1 \n cas! z b 2 3 \n get b 4 5", check.Broken},
		{"a rejected write, seen", "put a 0 1 \n put b 2 no \n get b 4 5", check.Broken},
		{"a refused write, seen", "put a 0 1 \n put b 2 refused \n get b 4 5", check.Broken},
		{"a write that broke, seen", "put a 0 1 \n put b 2 broke \n get b 4 5", check.Holds},
		{"an ambiguous write, seen", "put a 0 1 \n put b 2 ? \n get b 4 5", check.Holds},
		{"not seen", "put a 0 1 \n put b 2 ? \n get a 4 5", check.Holds},
		{"seen late", "put a 0 1 \n put b 2 ? \n get a 4 5 \n get b 6 7", check.Holds},
		{"seen, and gone", "put a 0 1 \n put b 2 ? \n get b 4 5 \n get a 6 7", check.Broken},
		{"seen before it was made", "put a 0 1 \n get b 2 3 \n put b 4 ?", check.Broken},
		{"of a caller that was killed", "put a 0 1 \n put b 2 lost \n get b 4 5", check.Holds},
		{"an ambiguous swap, seen", "put a 0 1 \n cas a b 2 ? \n get b 4 5", check.Holds},
		{"that could not have swapped", "put a 0 1 \n cas z b 2 ? \n get b 4 5", check.Broken},
		{"an ambiguous write that nobody saw, but that made a swap fail", "put a 0 1 \n put b 2 ? \n cas! a c 4 5", check.Holds},
		{"and is gone then", "put a 0 1 \n put b 2 ? \n cas! a c 4 5 \n get a 6 7", check.Broken},
		{"an ambiguous read", "put a 0 1 \n get z 2 ?", check.Holds},
		{"asked again, rejected first", "put a 0 1 \n put b 2 no =x \n get b 4 5 \n put b 6 7 =x", check.Holds}, // one operation from 2 to 7
		{"asked again, ambiguous first", "put a 0 1 \n put b 2 ? =x \n get b 4 5 \n put b 6 7 =x \n get b 8 9", check.Holds},
		{"asked again, answered before the first ended", "put b 6 7 =x \n put b 2 ? =x \n get b 4 5", check.Holds},
		{"asked again, and written again", "put a 0 1 =x \n put b 2 3 \n put a 4 5 =x \n get a 6 7", check.Broken},
	} {
		v := verdict(t, script(history.ExactlyOnce, c.script), "I15")
		if v.Result != c.want {
			t.Errorf("%s: %s, want %s\n%s\n%s", c.name, v.Result, c.want, v.Detail, strings.Join(v.Evidence, "\n"))
		}
	}
}

// With a memory that may run a call twice, only keys with which that has not happened are looked at.
func TestRegistersAtLeastOnce(t *testing.T) {
	twice := func(tag string) func(*history.History) {
		return func(h *history.History) { h.Entries = append(h.Entries, history.Entry{Tag: tag}) }
	}
	for _, c := range []struct {
		name, script string
		do           func(*history.History)
		want         check.Result
	}{
		{"each once", "put a 0 1 \n cas a b 2 3 \n cas! a b 4 5 \n get b 6 7", nil, check.Holds},
		{"and stale", "put a 0 1 \n cas a b 2 3 \n get a 6 7", nil, check.Broken},
		{"and a swap not told", "put a 0 1 \n cas a b 2 ? =x \n get b 4 5", twice("x"), check.Holds},
		{"and a write refused, but asked again", "put a 0 1 \n put b 2 refused =x \n get b 4 5", twice("x"), check.Holds},
		{"a write twice", "put a 0 1 =x \n put b 2 3 \n get a 4 5", twice("x"), check.NotChecked},
		{"an ambiguous write twice", "put a 0 ? =x \n put b 2 3 \n get a 4 5", func(h *history.History) { twice("x")(h); twice("x")(h) }, check.NotChecked},
		{"a swap that was told it was none", "put a 0 1 \n cas! a b 2 3 =x", twice("x"), check.NotChecked},
		{"writes that are not in the ledger", "put a 0 1 \n get b 2 3", func(h *history.History) { h.Entries = nil }, check.NotChecked},
	} {
		h := script(history.AtLeastOnce, c.script)
		if c.do != nil {
			c.do(h)
		}
		if v := verdict(t, h, "I15"); v.Result != c.want {
			t.Errorf("%s: %s, want %s\n%s\n%s", c.name, v.Result, c.want, v.Detail, strings.Join(v.Evidence, "\n"))
		}
	}
}

func TestRegistersEvidence(t *testing.T) {
	v := verdict(t, script(history.ExactlyOnce, "put a 0 1 \n put b 2 3 \n get b 2 4 \n get a 6 8 =x"), "I15")
	want := []string{
		`key "k": 3 operations from 0.002 s to 0.006 s have no order`,
		`key "k": no place for get is "a" by caller 1 at 0.006 s, answered at 0.008 s (call x)`,
		`key "k": the order that goes furthest ends with get is "b" by caller 1 at 0.002 s, answered at 0.004 s (call t2)`,
	}
	if got := strings.Join(v.Evidence, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// What is too much for the time there is, or for the memory, is not called right.
func TestRegistersInconclusive(t *testing.T) {
	if v := check.RegistersWithin(0, good()); v.Result != check.Inconclusive || !strings.Contains(v.Evidence[0], "in the time there is") {
		t.Errorf("without time: %s %q", v.Result, v.Evidence)
	}
	// Forty writes at one time, and a read of something else: each order is to be tried.
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "put a%d 1 100\n", i)
	}
	text.WriteString("get z 1 100\n")
	if v := check.RegistersWithin(200*ms, script(history.ExactlyOnce, text.String())); v.Result != check.Inconclusive {
		t.Errorf("hard: %s %q", v.Result, v.Evidence)
	}
	h := new(history.History)
	h.Calls = append(h.Calls, write("first", "get", `{"key":"k"}`, `{"value":"0"}`)) // invoked before what it reads
	h.Calls[0].Invoked, h.Calls[0].Returned = 0, 3
	for i := range check.MaxPart {
		c := write(fmt.Sprint(i), "put", fmt.Sprintf(`{"key":"k","value":"%d"}`, i), `{}`)
		c.Invoked, c.Returned = time.Duration(2*i+1), time.Duration(2*i+4)
		h.Calls = append(h.Calls, c)
	}
	h.Run.Promise = history.ExactlyOnce
	if v := check.RegistersWithin(time.Minute, h); v.Result != check.Inconclusive || !strings.Contains(v.Evidence[0], "60 001 operations from 0.000 s on overlap") {
		t.Errorf("large: %s %q", v.Result, v.Evidence)
	}
}
