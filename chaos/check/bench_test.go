package check_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// many makes a history of n calls of a hundred callers, one in four on one of 64 registers.
func many(n int) *history.History {
	h := &history.History{Run: history.Run{Promise: history.ExactlyOnce, Accounts: 100, Opening: int64(n)}, Balances: make([]int64, 100)}
	var registers [64]string
	for i := range h.Balances {
		h.Balances[i] = int64(n)
	}
	accounts, _ := json.Marshal(map[string]any{"balances": h.Balances})
	for i := range n {
		tag := fmt.Sprint("tag-", i)
		at := time.Duration(i) * 100 * time.Microsecond
		c := history.Call{
			ID: fmt.Sprint("00000000-0000-4000-8000-", i), Client: "bank", Process: "caller 1", Tag: tag, Outcome: history.OK, Attempts: 1,
			Invoked: at - 5*ms, Returned: at + 5*ms, Deadline: at + time.Second,
		}
		key := i / 4 % 64
		switch i % 8 {
		case 0:
			c.Op, registers[key] = "put", tag
			c.Input, c.Output = fmt.Appendf(nil, `{"tag":%q,"key":"k%d","value":%q}`, tag, key, tag), fmt.Appendf(nil, `{"tag":%q,"entry":"e%d"}`, tag, i)
		case 4:
			c.Op = "get"
			c.Input, c.Output = fmt.Appendf(nil, `{"tag":%q,"key":"k%d"}`, tag, key), fmt.Appendf(nil, `{"tag":%q,"value":%q}`, tag, registers[key])
		default:
			c.Op, c.Output = "transfer", fmt.Appendf(nil, `{"entry":"e%d","tag":%q}`, i, tag)
			h.Entries = append(h.Entries, history.Entry{Seq: int64(i), Call: c.ID, Tag: tag, From: i % 100, To: i % 100, Amount: 1})
		}
		if i%1000 == 1 {
			c.Op, c.Output = "accounts", accounts
		}
		h.Calls = append(h.Calls, c)
	}
	return h
}

func BenchmarkAll(b *testing.B) {
	const calls = 1_000_000
	h := many(calls)
	runtime.GC()
	b.ReportAllocs()
	for b.Loop() {
		if err := check.Sound(check.All(h)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/call")
}
