package check_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

const ms = time.Millisecond

// good returns a history in which there is something to look at for each invariant, and each holds.
func good() *history.History {
	h := &history.History{
		Run: history.Run{
			Scenario: "test", Promise: history.ExactlyOnce, Accounts: 3, Opening: 100, MustBite: []string{"kill", "replays"}, QueueMust: 2,
			Allowed: history.Allowed{Recovery: time.Second, Lateness: 100 * ms, Amplification: 1.2, DialsASecond: 10, Memory: 1 << 20},
		},
		Faults: []history.Fault{
			{Name: "kill", Target: "server-1", Text: "killed", From: 2000 * ms, To: 3000 * ms, Bites: 1},
			{Name: "cut", Target: "clients", Text: "cut", From: 2500 * ms, To: 3500 * ms, Bites: 3},
			{Name: "pause", Target: "broker", Text: "frozen", From: 20000 * ms, To: 21000 * ms, Bites: 1},
		},
		Inventories: []history.Inventory{
			{When: "baseline", Count: map[string]int{"driver goroutines": 20, "driver files": 9, "consumers": 2, "connections": 3}},
			{
				When: "end", Count: map[string]int{"driver goroutines": 22, "driver files": 8, "consumers": 2, "connections": 3},
				Messages: map[string]int{"rabbitrpc.bank": 2, "rabbitrpc.bank.parked": 0, "amq.gen-1": 7},
			},
			{When: history.InLogs},
		},
		Entries: []history.Entry{
			{Seq: 1, Call: "1", Tag: "t1", From: 0, To: 1, Amount: 10},
			{Seq: 2, Call: "3", Tag: "t3", From: 1, To: 2, Amount: 5},
			{Seq: 3, Call: "1", Tag: "o1", From: 2, To: 0, Amount: 1},
		},
		Balances: []int64{91, 105, 104},
	}
	addCalls(h)
	for i := range h.Calls {
		if c := &h.Calls[i]; c.Op == "transfer" {
			move := cmp.Or(map[string]string{"t1": `"from":0,"to":1,"amount":10`, "t3": `"from":1,"to":2,"amount":5`, "o1": `"from":2,"amount":1`}[c.Tag], `"to":2,"amount":7`)
			c.Input = fmt.Appendf(nil, `{"tag":%q,%s}`, c.Tag, move)
		}
	}
	for i := range time.Duration(300) {
		h.Samples = append(h.Samples, history.Sample{At: i * 100 * ms, Value: map[string]float64{"dials": float64(i / 10), "server-1 rss": 1 << 19, "in flight": 1e9}})
	}
	return h
}

// addCalls adds calls of each kind and end: twelve before, during and after the first faults, and five about the last.
func addCalls(h *history.History) {
	add := func(c history.Call) {
		n := time.Duration(len(h.Calls))
		c.Client, c.Process, c.Attempts = cmp.Or(c.Client, "bank"), "caller 1", 1
		c.Invoked, c.Returned, c.Deadline = 1000*ms+n*300*ms, 1200*ms+n*300*ms, 3000*ms+n*300*ms
		h.Calls = append(h.Calls, c)
	}
	add(call("1", "transfer", "t1", `{"tag":"t1","entry":"a"}`))
	add(call("2", "transfer", "t2", ""))
	add(call("3", "transfer", "t3", ""))
	add(call("4", "transfer", "t4", ""))
	add(call("5", "accounts", "", `{"balances":[90,110,100]}`))
	h.Calls[1].Outcome, h.Calls[2].Outcome, h.Calls[3].Outcome = history.Rejected, history.Ambiguous, history.Lost
	h.Calls[3].Attempts, h.Calls[3].Returned = 0, 0
	again := h.Calls[0]
	again.Kind, again.Replayed = history.Again, true
	add(again)
	add(history.Call{ID: "1", Op: "transfer", Tag: "m1", Kind: history.Misuse, Outcome: history.Rejected, Code: "invalid_argument"})
	other := call("1", "transfer", "o1", `{"tag":"o1","entry":"b"}`)
	other.Client, other.Kind = "shop", history.Other
	add(other)
	add(write("6", "put", `{"tag":"6","key":"k","value":"v1"}`, `{"tag":"6","entry":"c"}`))
	add(write("7", "get", `{"tag":"7","key":"k"}`, `{"tag":"7","value":"v1"}`))
	add(write("8", "cas", `{"tag":"8","key":"k","old":"v1","new":"v2"}`, `{"tag":"8","swapped":true,"entry":"d"}`))
	add(write("9", "get", `{"tag":"9","key":"k"}`, `{"tag":"9","value":"v2"}`))
	for i := range time.Duration(5) {
		late := call(fmt.Sprint("late", i), "transfer", fmt.Sprint("late", i), "")
		late.Invoked, late.Returned, late.Deadline = 20500*ms+i*200*ms, 20600*ms+i*200*ms, 30*time.Second
		late.Outcome, late.Code, late.Client, late.Process, late.Attempts = history.Failed, "failed_precondition", "bank", "caller 2", 1
		if i == 4 {
			late.Op, late.Outcome, late.Output, late.Tag = "accounts", history.OK, json.RawMessage(`{"balances":[91,105,104]}`), ""
		}
		h.Calls = append(h.Calls, late)
	}
}

func call(id, op, tag, output string) history.Call {
	c := history.Call{ID: id, Op: op, Tag: tag, Outcome: history.OK}
	if output != "" {
		c.Output = json.RawMessage(output)
	}
	return c
}

func write(id, op, input, output string) history.Call {
	c := call(id, op, id, output)
	c.Input = json.RawMessage(input)
	return c
}

// find returns the call with the ID, the first that is of the kind.
func find(h *history.History, id string, k history.Kind) *history.Call {
	i := slices.IndexFunc(h.Calls, func(c history.Call) bool { return c.ID == id && c.Kind == k })
	return &h.Calls[i]
}

// A change makes another history of the good one; what an invariant says of that is want, for the reason given.
type change struct {
	name string
	do   func(h *history.History)
	want check.Result
	says string // part of the detail or the evidence
}

func verdict(t *testing.T, h *history.History, id string) check.Verdict {
	t.Helper()
	for i, v := range check.All(h) {
		if v.Invariant == id {
			return v
		}
		if check.Invariants[i].ID != v.Invariant || check.Invariants[i].Title != v.Title {
			t.Fatalf("verdict %d is of %s, want %s", i, v.Invariant, check.Invariants[i].ID)
		}
	}
	t.Fatalf("no verdict of %s", id)
	return check.Verdict{}
}

// judge runs the changes. An invariant that cannot be broken in two ways is not much of one.
func judge(t *testing.T, id string, changes []change) {
	t.Helper()
	broken := 0
	for _, c := range changes {
		if c.want == check.Broken {
			broken++
		}
		t.Run(id+" "+c.name, func(t *testing.T) {
			h := good()
			c.do(h)
			v := verdict(t, h, id)
			text := v.Detail + "\n" + strings.Join(v.Evidence, "\n")
			if v.Result != c.want || !strings.Contains(text, c.says) {
				t.Errorf("%s, want %s saying %q\n%s", v.Result, c.want, c.says, text)
			}
			if failed := v.Result == check.Broken || v.Result == check.Inconclusive; failed != (len(v.Evidence) > 0) || len(v.Evidence) > 5 {
				t.Errorf("%d lines of evidence for %s", len(v.Evidence), v.Result)
			}
		})
	}
	if broken < 2 {
		t.Errorf("%s is broken in %d ways, want at least 2", id, broken)
	}
}
