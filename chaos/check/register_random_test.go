package check_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// executed makes the history of n operations on a real register of each key, one after the other, of which callers know
// no more than that they happened in an interval around. Some never learn it.
func executed(r *rand.Rand, n, keys int) *history.History {
	h := &history.History{Run: history.Run{Promise: history.ExactlyOnce}}
	registers := make([]string, keys)
	for i := range n {
		key := r.IntN(keys)
		now := &registers[key]
		at := time.Duration(i) * ms
		c := history.Call{
			ID: fmt.Sprint(i), Client: "bank", Process: "caller 1", Tag: fmt.Sprint(i), Outcome: history.OK,
			Invoked: at - time.Duration(r.IntN(5000))*time.Microsecond, Returned: at + time.Duration(r.IntN(5000))*time.Microsecond,
		}
		happens := true
		if r.IntN(10) == 0 {
			c.Outcome = []history.Outcome{history.Ambiguous, history.Lost, history.Rejected}[r.IntN(3)]
			happens = c.Outcome != history.Rejected && r.IntN(2) == 0
		}
		switch value := fmt.Sprint("v", i); r.IntN(3) {
		case 0:
			c.Op, c.Input = "put", fmt.Appendf(nil, `{"key":"%d","value":%q}`, key, value)
			c.Output = []byte(`{}`)
			if happens {
				*now = value
			}
		case 1:
			c.Op, c.Input, c.Output = "get", fmt.Appendf(nil, `{"key":"%d"}`, key), fmt.Appendf(nil, `{"value":%q}`, *now)
		default:
			old := *now
			if r.IntN(4) == 0 {
				old = "other"
			}
			c.Op, c.Input = "cas", fmt.Appendf(nil, `{"key":"%d","old":%q,"new":%q}`, key, old, value)
			c.Output = fmt.Appendf(nil, `{"swapped":%t}`, old == *now)
			if happens && old == *now {
				*now = value
			}
		}
		if c.Outcome != history.OK {
			c.Output, c.Returned = nil, 0
		}
		h.Calls = append(h.Calls, c)
	}
	return h
}

func TestRegistersExecuted(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 0))
		h := executed(r, 2000, 1+int(seed)%4)
		if v := verdict(t, h, "I15"); v.Result != check.Holds {
			t.Fatalf("seed %d: %s %q", seed, v.Result, v.Evidence)
		}
		// One read is of a value that was long overwritten.
		var reads []int
		for i, c := range h.Calls {
			if c.Op == "get" && c.Outcome == history.OK && i > 1000 {
				reads = append(reads, i)
			}
		}
		h.Calls[reads[r.IntN(len(reads))]].Output = []byte(`{"value":""}`)
		if v := verdict(t, h, "I15"); v.Result != check.Broken {
			t.Errorf("seed %d, with a stale read: %s %q", seed, v.Result, v.Evidence)
		}
	}
}

// TestRegistersRandom compares with a search that knows no short cuts, on histories of few operations and values.
func TestRegistersRandom(t *testing.T) {
	holds, all := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		text, answered := "", false
		value := rapid.SampledFrom([]string{"a", "b", "c", "d", "-"})
		for range rapid.IntRange(1, 7).Draw(t, "operations") {
			from := rapid.IntRange(0, 30).Draw(t, "from")
			to := fmt.Sprint(from + rapid.IntRange(0, 15).Draw(t, "for"))
			if rapid.IntRange(0, 2).Draw(t, "open") == 0 {
				to = "?"
			}
			answered = answered || to != "?"
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0, 1:
				text += fmt.Sprintf("put %s %d %s\n", rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "value"), from, to)
			case 2:
				text += fmt.Sprintf("get %s %d %s\n", value.Draw(t, "value"), from, to)
			case 3:
				text += fmt.Sprintf("cas %s %s %d %s\n", value.Draw(t, "old"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "new"), from, to)
			default:
				text += fmt.Sprintf("cas! %s z %d %s\n", value.Draw(t, "old"), from, to)
			}
		}
		h := script(history.ExactlyOnce, text)
		want := check.Broken
		ops := simple(h)
		if !answered {
			want = check.Inconclusive
		} else if ordered(ops, "") {
			want = check.Holds
			holds++
		}
		all++
		if got := check.RegistersWithin(time.Minute, h); got.Result != want {
			t.Fatalf("%s, want %s of\n%s%q", got.Result, want, text, got.Evidence)
		}
	})
	if holds < all/20 || holds > all*19/20 {
		t.Errorf("%d of %d histories hold: too few, or too many, to tell anything", holds, all)
	}
}

type simpleOp struct {
	op, old, value string
	swapped, open  bool
	from, to       time.Duration
}

func simple(h *history.History) (ops []simpleOp) {
	for _, c := range h.Calls {
		open := c.Outcome != history.OK
		if open && c.Op == "get" {
			continue
		}
		in, out := fields(c.Input), fields(c.Output)
		o := simpleOp{op: c.Op, value: in["value"] + in["new"], old: in["old"], swapped: out["swapped"] == "true", open: open, from: c.Invoked, to: c.Returned}
		if c.Op == "get" {
			o.value = out["value"]
		}
		if open {
			o.to = math.MaxInt64
		}
		ops = append(ops, o)
	}
	return ops
}

// ordered tries each operation that no other has ended before as the next one, and of those without an end that it is never.
func ordered(ops []simpleOp, now string) bool {
	if len(ops) == 0 {
		return true
	}
	for i, o := range ops {
		rest := slices.Delete(slices.Clone(ops), i, i+1)
		if o.open && ordered(rest, now) {
			return true
		}
		if slices.ContainsFunc(rest, func(other simpleOp) bool { return other.to < o.from }) {
			continue
		}
		next, right := now, true
		switch {
		case o.op == "put", o.op == "cas" && o.old == now:
			next, right = o.value, o.open || o.op == "put" || o.swapped
		case o.op == "cas":
			right = o.open || !o.swapped
		default:
			right = o.value == now
		}
		if right && ordered(rest, next) {
			return true
		}
	}
	return false
}

func fields(raw []byte) map[string]string {
	all := make(map[string]string)
	var in map[string]any
	if json.Unmarshal(raw, &in) == nil {
		for k, v := range in {
			if v != nil {
				all[k] = fmt.Sprint(v)
			}
		}
	}
	return all
}
