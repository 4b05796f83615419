package check_test

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

func TestLeaks(t *testing.T) {
	end := func(name string, n int) func(*history.History) {
		return func(h *history.History) { h.Inventories[1].Count[name] = n }
	}
	judge(t, "I10", []change{
		{"good", func(*history.History) {}, check.Holds, "4 kinds"},
		{"goroutines", end("driver goroutines", 23), check.Broken, "driver goroutines: 20 before the load, 23 at the end"},
		{"files", end("driver files", 12), check.Broken, "driver files: 9 before"},
		{"a connection", end("connections", 4), check.Broken, "connections: 3 before the load, 4 at the end"},
		{"a consumer is gone", end("consumers", 1), check.Broken, "consumers: 2 before the load, 1 at the end"},
		{"a kind that was not there", end("exchanges", 1), check.Broken, "exchanges: none before the load, 1"},
		{"fewer goroutines", end("driver goroutines", 3), check.Holds, ""},
		{"a kind is missing", func(h *history.History) { delete(h.Inventories[1].Count, "consumers") }, check.Inconclusive, "consumers: 2 before the load, not counted"},
		{"the last one counts", func(h *history.History) {
			worse := history.Inventory{When: "end", Count: map[string]int{"connections": 9}}
			h.Inventories = []history.Inventory{h.Inventories[0], worse, h.Inventories[1]}
		}, check.Holds, ""},
		{"no end", func(h *history.History) { h.Inventories = h.Inventories[:1] }, check.Inconclusive, "at the end"},
		{"no baseline", func(h *history.History) { h.Inventories = h.Inventories[1:] }, check.Inconclusive, "before the load"},
		{"neither", func(h *history.History) { h.Inventories = nil }, check.NotChecked, ""},
	})
}

func TestMemory(t *testing.T) {
	uses := func(name string, v float64) func(*history.History) {
		return func(h *history.History) {
			h.Samples[7].Value[name] = v
			h.Samples[8].Value[name] = 2 * v
		}
	}
	judge(t, "I11", []change{
		{"good", func(*history.History) {}, check.Holds, "server-1 rss at most 0.5 MiB, 300 samples"},
		{"resident", uses("server-1 rss", 1<<20+1), check.Broken, "server-1 rss was beyond 1.0 MiB from 0.700 s on, and at most 2.0 MiB"},
		{"heap", uses("driver heap", 1<<20+1), check.Broken, "driver heap was beyond 1.0 MiB from 0.700 s on"},
		{"neither", uses("driver goroutines", 1<<30), check.Holds, ""},
		{"no bound", func(h *history.History) { h.Run.Allowed.Memory = 0 }, check.NotChecked, "server-1 rss at most 0.5 MiB, no bound is set"},
		{"no samples", func(h *history.History) { h.Samples = nil }, check.NotChecked, "no samples"},
	})
}

func TestQueues(t *testing.T) {
	holds := func(name string, n int) func(*history.History) {
		return func(h *history.History) { h.Inventories[1].Messages[name] = n }
	}
	judge(t, "I12", []change{
		{"good", func(*history.History) {}, check.Holds, "2 queues"},
		{"a request is left", holds("rabbitrpc.bank", 3), check.Broken, "hold 3 requests, want 2: rabbitrpc.bank: 3"},
		{"of another service", holds("rabbitrpc.shop", 1), check.Broken, "rabbitrpc.bank: 2, rabbitrpc.shop: 1"},
		{"a durable request is lost", holds("rabbitrpc.bank", 1), check.Broken, "hold 1 request, want 2"},
		{"a request was parked", holds("rabbitrpc.bank.parked", 1), check.Broken, "rabbitrpc.bank.parked holds 1 request"},
		{"a reply is left", holds("amq.gen-2", 1), check.Holds, ""},
		{"in another queue", func(h *history.History) { holds("rabbitrpc.bank", 0)(h); holds("rabbitrpc.shop", 2)(h) }, check.Holds, "3 queues"},
		{"not looked at", func(h *history.History) { h.Inventories[1].Messages = nil }, check.Inconclusive, "must hold 2 requests"},
		{"no end", func(h *history.History) { h.Inventories = nil; h.Run.QueueMust = 0 }, check.NotChecked, ""},
	})
}
