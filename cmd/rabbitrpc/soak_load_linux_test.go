package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/load"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/mathrpc"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	soakRate    = 150              // calls a second, a fifth of them to a program
	soakTimeout = 30 * time.Second // of a call: an outage fits in
)

// A soakLoad calls all services at a constant rate.
type soakLoad struct {
	t       *testing.T
	client  *client.Client
	calls   atomic.Int64
	cancel  context.CancelFunc
	result  chan *load.Result
	outages []*outage

	mu     sync.Mutex // guards what follows
	lost   []time.Time
	failed []failedCall
}

type failedCall struct {
	err        error
	begin, end time.Time
}

func startSoakLoad(t *testing.T, broker string, most time.Duration) *soakLoad {
	t.Helper()
	l := &soakLoad{t: t, result: make(chan *load.Result, 1)}
	c, closeClient := soakClient(t, broker, conn.WithHooks(conn.Hooks{Lost: func(error, time.Duration) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lost = append(l.lost, time.Now())
	}}))
	l.client = c
	t.Cleanup(closeClient)
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	rate := load.Load{Callers: 2 * soakRate * int(soakTimeout.Seconds()), Duration: most, Rate: soakRate}
	go func() { l.result <- rate.Run(ctx, l.call) }()
	t.Cleanup(cancel)
	return l
}

func soakClient(t *testing.T, broker string, opts ...conn.Option) (c *client.Client, closeAll func()) {
	t.Helper()
	m, err := conn.Open(t.Context(), broker, append(opts, conn.WithLogger(slog.New(slog.DiscardHandler)))...)
	must(t, err)
	c, err = client.New(m, client.WithTimeout(soakTimeout))
	must(t, err)
	return c, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
		_ = m.Close(ctx) // the broker may be gone
	}
}

// call makes the next call. When ctx ends it is not given up: no more begin.
func (l *soakLoad) call(ctx context.Context) error {
	n := int(l.calls.Add(1))
	f := failedCall{begin: time.Now()}
	f.err = callOne(context.WithoutCancel(ctx), l.client, n, client.WaitForServer())
	if f.err != nil {
		f.end = time.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed = append(l.failed, f)
	}
	return f.err
}

// callOne calls one of the services, and checks the reply.
func callOne(ctx context.Context, c *client.Client, n int, opts ...client.CallOption) error {
	switch n % 5 {
	case 0:
		return callEcho(ctx, c, rpc.Method[string, string]{Service: "cat", Name: "cat"}, n, opts)
	case 1, 2:
		return callEcho(ctx, c, rpc.Method[string, string]{Service: "echo", Name: "echo"}, n, opts)
	}
	n %= mathrpc.MaxN + 1
	want, err := mathrpc.Fibonacci(n)
	if err != nil {
		return err
	}
	got, err := client.Call(ctx, c, mathrpc.Fib, n, opts...)
	if err == nil && got != want {
		err = fmt.Errorf("fib %d: got %d, want %d", n, got, want)
	}
	return err
}

func callEcho(ctx context.Context, c *client.Client, m rpc.Method[string, string], n int, opts []client.CallOption) error {
	want := strconv.Itoa(n)
	got, err := client.Call(ctx, c, m, want, opts...)
	if err == nil && got != want {
		err = fmt.Errorf("%s %s: got %q, want %q", m.Service, m.Name, got, want)
	}
	return err
}

// allAnswer waits until each service has answered a call that begins now, and returns when that was.
func (l *soakLoad) allAnswer(ctx context.Context) time.Time {
	for n := range 5 {
		if err := callOne(ctx, l.client, n, client.WaitForServer(), client.WithTimeout(time.Minute)); err != nil {
			l.t.Errorf("when the broker is back: %v", err)
		}
	}
	return time.Now()
}

// answerAtOnce checks that a client that comes now need not wait for servers.
func (l *soakLoad) answerAtOnce(ctx context.Context, broker string) {
	l.t.Helper()
	c, closeClient := soakClient(l.t, broker)
	defer closeClient()
	for n := range 5 {
		if err := callOne(ctx, c, n, client.WithTimeout(10*time.Second)); err != nil {
			l.t.Errorf("/readyz says that it is ready, and a call gets %v", err)
		}
	}
}

// lostSince waits until the session was lost after a time, and returns when that was.
func (l *soakLoad) lostSince(begin time.Time) time.Time {
	l.t.Helper()
	for {
		l.mu.Lock()
		lost := l.lost
		l.mu.Unlock()
		for _, at := range lost {
			if at.After(begin) {
				return at
			}
		}
		if time.Since(begin) > patience {
			l.t.Fatal("the broker has ended, and the connection with it has not")
		}
		time.Sleep(time.Millisecond)
	}
}

// answeredAt returns since when there is no outage.
func (l *soakLoad) answeredAt(start time.Time) time.Time {
	if len(l.outages) == 0 {
		return start
	}
	return l.outages[len(l.outages)-1].answered
}

// more waits for more calls.
func (l *soakLoad) more(calls int64) {
	l.t.Helper()
	start, before := time.Now(), l.calls.Load()
	for l.calls.Load() < before+calls {
		if time.Since(start) > patience {
			l.t.Fatalf("%d calls after %v, want %d", l.calls.Load()-before, patience, calls)
		}
		time.Sleep(time.Millisecond)
	}
}

// stop makes no more calls, and waits for those that there are.
func (l *soakLoad) stop() {
	l.cancel()
	r := <-l.result
	l.t.Logf("%d calls, %d failed, %d too late to begin; p50 %v, p99 %v, longest %v", l.calls.Load(), r.Failed, r.Missed,
		r.Percentile(50), r.Percentile(99), r.Percentile(100))
	if r.Missed > 0 {
		l.t.Errorf("%d calls could not be made: too many wait", r.Missed)
	}
}

// judge allows a call to fail only at its deadline, and only if there was an outage then. The broker expires a request a little
// earlier, which is allowed, too.
func (l *soakLoad) judge() {
	for _, f := range l.failed {
		deadline := f.begin.Add(soakTimeout)
		if deadline.Sub(f.end) > time.Second || !l.inOutage(deadline) {
			l.t.Errorf("a call failed %v after its begin at %v: %v", f.end.Sub(f.begin), f.begin, f.err)
		}
	}
}

func (l *soakLoad) inOutage(at time.Time) bool {
	return slices.ContainsFunc(l.outages, func(o *outage) bool { return at.After(o.gone) && at.Before(o.answered) })
}
