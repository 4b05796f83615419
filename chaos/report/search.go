package report

import (
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

const (
	maxRows = 20_000
	maxText = 160 // characters of one input, output or error
)

// searchable is what a page can find: calls as rows of a table, by the time they were invoked.
type searchable struct {
	Total int      `json:"total"`
	Words []string `json:"words"` // what many rows say: rows have numbers for it
	Rows  []row    `json:"rows"`
}

// A row is a call in as few characters as it takes: id, tag, client, process, kind, op, outcome, code, server, error,
// invoked, wait, time that it had (all in microseconds), attempts, replayed, input, output. The page's script knows the
// order as well; zeros at the end are left out.
type row []any

// searchableOf has all calls of a small history. Of a large one it has those that say something, and a sample of others.
func searchableOf(h *history.History, v []check.Verdict) searchable {
	s := searchable{Total: len(h.Calls)}
	words := words{index: make(map[string]int)}
	words.of("") // the first, so that nothing is zero
	for _, i := range choose(h, v) {
		s.Rows = append(s.Rows, rowOf(&h.Calls[i], &words))
	}
	s.Words = words.list
	return s
}

func rowOf(c *history.Call, w *words) row {
	replayed := 0
	if c.Replayed {
		replayed = 1
	}
	r := row{
		printable(c.ID), printable(c.Tag), w.of(c.Client), w.of(c.Process), w.of(string(c.Kind)), w.of(c.Op),
		w.of(string(c.Outcome)), w.of(c.Code), w.of(c.Server), w.of(cut(c.Error, maxText)),
		int(c.Invoked / time.Microsecond), int(wait(c) / time.Microsecond), int((c.Deadline - c.Invoked) / time.Microsecond),
		c.Attempts, replayed, cut(printable(string(c.Input)), maxText), cut(printable(string(c.Output)), maxText),
	}
	for last := len(r) - 1; r[last] == 0 || r[last] == ""; last-- {
		r = r[:last]
	}
	return r
}

// words gives texts numbers.
type words struct {
	list  []string
	index map[string]int
}

func (w *words) of(text string) int {
	i, known := w.index[text]
	if !known {
		i = len(w.list)
		w.index[text] = i
		w.list = append(w.list, printable(text))
	}
	return i
}

// choose returns which calls a page has, by index. Where not all have room, those come first that evidence names; then what
// was not ok at the first attempt, or not meant to be; then other calls with the ID of one of these; then others. Each
// group is thinned evenly.
func choose(h *history.History, v []check.Verdict) []int {
	if len(h.Calls) <= maxRows {
		return spread(nil, len(h.Calls), maxRows)
	}
	named := tokens(v)
	group := make([]int, len(h.Calls))
	ids := make(map[string]bool)
	for i := range h.Calls {
		c := &h.Calls[i]
		switch {
		case named[c.ID]:
			group[i] = 0
		case c.Outcome != history.OK || c.Attempts > 1 || c.Replayed || c.Kind != history.Usual && c.Kind != history.Check:
			group[i] = 1
		default:
			group[i] = 3
			continue
		}
		ids[c.ID] = true
	}
	var groups [4][]int
	for i := range h.Calls {
		if group[i] == 3 && ids[h.Calls[i].ID] {
			group[i] = 2
		}
		groups[group[i]] = append(groups[group[i]], i)
	}
	var chosen []int
	for _, g := range groups {
		chosen = append(chosen, spread(g, len(g), maxRows-len(chosen))...)
	}
	return chosen
}

// spread returns at most room of the n in from, evenly; nil stands for 0, 1, 2...
func spread(from []int, n, room int) []int {
	take := min(n, room)
	some := make([]int, 0, take)
	for i := range take {
		at := i * n / take
		if from != nil {
			at = from[at]
		}
		some = append(some, at)
	}
	return some
}

// tokens returns all words in evidence that may be a call's ID.
func tokens(v []check.Verdict) map[string]bool {
	all := make(map[string]bool)
	for _, verdict := range v {
		for _, e := range verdict.Evidence {
			for _, token := range strings.FieldsFunc(e, func(r rune) bool { return strings.ContainsRune(" \t\n,;:()[]{}\"'=", r) }) {
				all[token] = true
			}
		}
	}
	return all
}
