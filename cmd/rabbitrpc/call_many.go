package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// many makes the same call again and again. A signal ends that, and what was made until then is shown.
func (f *callFlags) many(ctx context.Context, out, complaints io.Writer, c *client.Client, r *rpc.Request) error {
	t := tally{took: newLatencies(), failures: make(map[failure]*failed)}
	start := time.Now()
	var next atomic.Int64
	var callers sync.WaitGroup
	var complain sync.Once
	for range min(f.concurrency, f.count) {
		callers.Go(func() {
			for ctx.Err() == nil && next.Add(1) <= int64(f.count) {
				began := time.Now()
				_, err := c.Do(ctx, r)
				if ctx.Err() == nil || err == nil {
					t.add(time.Since(began), err)
				}
				if errors.Is(err, client.ErrBreakerOpen) {
					complain.Do(func() {
						fmt.Fprintf(complaints, "rabbitrpc: no call gets through, trying on: %s\n", sentence(err.Error()))
					})
					breakerPause(ctx)
				}
			}
		})
	}
	callers.Wait()
	t.elapsed = time.Since(start)
	if err := f.show(out, &t); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	return t.first
}

// breakerPause waits for as long as a breaker stays open until it looks again: else all calls would be over before that.
func breakerPause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}

// A tally is what many calls came to. Its size does not depend on their number.
type tally struct {
	elapsed time.Duration

	mu       sync.Mutex // guards what follows
	ok       int
	failed   int
	took     latencies
	failures map[failure]*failed
	first    error
}

// A failure is what errors have in common.
type failure struct {
	code     rpc.Code
	executed rpc.Execution
	kept     bool // back by the breaker
}

type failed struct {
	Code     rpc.Code `json:"code"`
	Executed string   `json:"executed"`
	Count    int      `json:"count"`
	Example  string   `json:"example"` // the message of the first
}

func (t *tally) add(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took.add(took)
	if err == nil {
		t.ok++
		return
	}
	t.failed++
	t.first = cmp.Or(t.first, err)
	kind := failure{rpc.CodeOf(err), rpc.Executed(err), errors.Is(err, client.ErrBreakerOpen)}
	if t.failures[kind] == nil {
		text := err.Error()
		if e, ok := errors.AsType[*rpc.Error](err); ok {
			text = e.Message
		}
		t.failures[kind] = &failed{Code: kind.code, Executed: kind.executed.String(), Example: sentence(text)}
	}
	t.failures[kind].Count++
}

func (f *callFlags) show(out io.Writer, t *tally) error {
	failures := slices.AppendSeq([]*failed{}, maps.Values(t.failures)) // in JSON none is an empty list
	slices.SortFunc(failures, func(a, b *failed) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Executed, b.Executed))
	})
	made := t.ok + t.failed
	rate := float64(made) / max(t.elapsed.Seconds(), 1e-6)
	if f.output == "json" {
		return writeLine(out, map[string]any{
			"calls": made, "ok": t.ok, "failed": t.failed, "concurrency": f.concurrency, "seconds": t.elapsed.Seconds(),
			"per_second": rate, "ms": t.took.object(), "errors": failures,
		})
	}
	paint := painterFor(out)
	text := fmt.Sprintf("calls %d, ok %d, failed %d, in %v, %s a second\n%v\n", made, t.ok, t.failed,
		t.elapsed.Round(time.Millisecond), rounded(rate, 4), t.took)
	for _, e := range failures {
		text += paint(red, fmt.Sprintf("%d times %s, executed %s: %s", e.Count, e.Code, e.Executed, e.Example)) + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}
