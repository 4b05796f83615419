package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// counter is a handler that counts how often it ran, and does what do says.
type counter struct {
	n  atomic.Int32
	do rpc.Handler // nil: answers how often it ran
}

func (c *counter) handle(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
	n := c.n.Add(1)
	if c.do != nil {
		return c.do(ctx, req)
	}
	return &rpc.Reply{Body: fmt.Append(nil, n)}, nil
}

func (c *counter) wantRuns(t *testing.T, want int32) {
	t.Helper()
	if got := c.n.Load(); got != want {
		t.Errorf("handler ran %d times, want %d", got, want)
	}
}

func intercept(t testing.TB, c *counter) rpc.Handler {
	return rpc.Chain(c.handle, idempotency.Interceptor(newLRU(t)))
}

func request(id string) *rpc.Request {
	return &rpc.Request{Service: "s", Method: "m", Client: "c", ID: id, Body: []byte("payload")}
}

func wantReply(t *testing.T, reply *rpc.Reply, err error, body string, replayed bool) {
	t.Helper()
	if err != nil || string(reply.Body) != body || reply.Replayed != replayed {
		t.Errorf("reply = %+v, %v, want %q, replayed %t", reply, err, body, replayed)
	}
}

func wantError(t *testing.T, err error, code rpc.Code, executed rpc.Execution) *rpc.Error {
	t.Helper()
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e.Code != code || e.Executed != executed {
		t.Fatalf("error = %#v, want %v, executed %v", err, code, executed)
	}
	return e
}

func TestDuplicateIsReplayed(t *testing.T) {
	c := &counter{}
	h := intercept(t, c)
	for i := range 3 {
		reply, err := h(t.Context(), request("1"))
		wantReply(t, reply, err, "1", i > 0)
		reply.Body[0] = 'X' // each has its own
	}
	c.wantRuns(t, 1)
}

func TestNoCallID(t *testing.T) {
	c := &counter{}
	h := intercept(t, c)
	for _, want := range []string{"1", "2"} {
		reply, err := h(t.Context(), request(""))
		wantReply(t, reply, err, want, false)
	}
}

func TestOtherCallerRuns(t *testing.T) {
	c := &counter{}
	h := intercept(t, c)
	for _, change := range []func(*rpc.Request){
		func(*rpc.Request) {},
		func(r *rpc.Request) { r.User = "u" },
		func(r *rpc.Request) { r.Client = "d" },
		func(r *rpc.Request) { r.Service = "t" },
		func(r *rpc.Request) { r.Method = "n" },
		func(r *rpc.Request) { r.ID = "2" },
	} {
		req := request("1")
		change(req)
		reply, err := h(t.Context(), req)
		wantReply(t, reply, err, fmt.Sprint(c.n.Load()), false)
	}
	c.wantRuns(t, 6)
}

func TestMismatch(t *testing.T) {
	c := &counter{}
	h := intercept(t, c)
	if _, err := h(t.Context(), request("1")); err != nil {
		t.Fatal(err)
	}
	req := request("1")
	req.Body = []byte("another")
	_, err := h(t.Context(), req)
	e := wantError(t, err, rpc.InvalidArgument, rpc.ExecutedNo)
	if want := "call ID was used before with another payload"; e.Message != want {
		t.Errorf("message = %q, want %q", e.Message, want)
	}
	reply, err := h(t.Context(), request("1"))
	wantReply(t, reply, err, "1", true)
	c.wantRuns(t, 1)
}

func TestMismatchWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			time.Sleep(time.Second)
			return &rpc.Reply{}, nil
		}}
		h := intercept(t, c)
		go h(t.Context(), request("1"))
		synctest.Wait()
		req := request("1")
		req.Body = nil
		_, err := h(t.Context(), req)
		wantError(t, err, rpc.InvalidArgument, rpc.ExecutedNo)
		time.Sleep(time.Second)
		c.wantRuns(t, 1)
	})
}

func TestFailureIsReplayed(t *testing.T) {
	cause := errors.New("SECRET")
	coded := rpc.Errorf(rpc.NotFound, "no account").WithDetails(7).WithRetryAfter(time.Second)
	tests := []struct {
		name    string
		err     error
		code    rpc.Code
		message string
	}{
		{"coded", coded, rpc.NotFound, "no account"},
		{"coded, wrapped", fmt.Errorf("SECRET: %w", coded), rpc.NotFound, "no account"},
		{"coded, executed", coded.WithExecuted(rpc.ExecutedYes), rpc.NotFound, "no account"},
		{"foreign", cause, rpc.Unknown, "the handler failed"},
		{"context", context.DeadlineExceeded, rpc.DeadlineExceeded, "the handler failed"},
		{"nil pointer", (*rpc.Error)(nil), rpc.Unknown, "the handler failed"},
		{"neither", nil, rpc.Internal, "the handler returned neither reply nor error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) { return nil, tt.err }}
			h := intercept(t, c)
			for i := range 3 {
				reply, err := h(t.Context(), request("1"))
				e := wantError(t, err, tt.code, rpc.Executed(err))
				if e.Message != tt.message || reply != nil {
					t.Errorf("answer %d = %v, %q, want message %q", i, reply, e.Message, tt.message)
				}
				if tt.err != nil && errors.Is(err, tt.err) != (i == 0) {
					t.Errorf("answer %d: cause there = %t, want it in the first only", i, i > 0)
				}
				if strings.HasPrefix(tt.name, "coded") && (string(e.Details) != "7" || e.RetryAfter != time.Second) {
					t.Errorf("answer %d = %+v, want all fields", i, e)
				}
			}
			c.wantRuns(t, 1)
		})
	}
}

func TestNotExecutedRunsAgain(t *testing.T) {
	c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		return nil, fmt.Errorf("admit: %w", rpc.Errorf(rpc.ResourceExhausted, "busy").WithExecuted(rpc.ExecutedNo))
	}}
	h := intercept(t, c)
	for range 2 {
		_, err := h(t.Context(), request("1"))
		wantError(t, err, rpc.ResourceExhausted, rpc.ExecutedNo)
	}
	c.wantRuns(t, 2)
}

// A handler in doubt that invites the same call gets it again; else its answer is recorded like any other.
func TestInDoubt(t *testing.T) {
	for _, tt := range []struct {
		name string
		code rpc.Code
		once bool
		runs int32
	}{
		{"retryable", rpc.Unavailable, false, 2},
		{"retryable, at most once", rpc.Unavailable, true, 1},
		{"not retryable", rpc.DeadlineExceeded, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
				return nil, rpc.Errorf(tt.code, "connection lost").WithCause(rpc.ErrInDoubt)
			}}
			h := intercept(t, c)
			for range 2 {
				req := request("1")
				req.AtMostOnce = tt.once
				_, err := h(t.Context(), req)
				wantError(t, err, tt.code, rpc.ExecutedUnknown)
			}
			c.wantRuns(t, tt.runs)
		})
	}
}

// Many goroutines, one call: whoever comes when, the handler runs once.
func TestManyDuplicatesRunOnce(t *testing.T) {
	c := &counter{}
	h := intercept(t, c)
	for id := range 50 {
		var wg sync.WaitGroup
		var first atomic.Int32
		for range 20 {
			wg.Go(func() {
				reply, err := h(t.Context(), request(fmt.Sprint(id)))
				if err != nil || string(reply.Body) != fmt.Sprint(id+1) {
					t.Errorf("reply = %+v, %v, want %d", reply, err, id+1)
					return
				}
				if !reply.Replayed {
					first.Add(1)
				}
				reply.Body[0] = 'X' // the race detector sees it if it is shared
			})
		}
		wg.Wait()
		if got := first.Load(); got != 1 {
			t.Errorf("%d replies are not replayed, want 1", got)
		}
	}
	c.wantRuns(t, 50)
}

func TestDuplicateJoins(t *testing.T) {
	slow := func(d time.Duration, reply *rpc.Reply, err error) *counter {
		return &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			time.Sleep(d)
			return reply, err
		}}
	}
	tests := []struct {
		name string
		c    *counter
		code rpc.Code
	}{
		{"a success", slow(time.Second, &rpc.Reply{}, nil), rpc.OK},
		{"a failure", slow(time.Second, nil, rpc.Errorf(rpc.NotFound, "x")), rpc.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := intercept(t, tt.c)
				start := time.Now()
				go h(t.Context(), request("1"))
				synctest.Wait()
				reply, err := h(t.Context(), request("1"))
				if got := time.Since(start); rpc.CodeOf(err) != tt.code || got != time.Second {
					t.Errorf("joined = %v after %v, want %v after 1s", err, got, tt.code)
				}
				if err == nil && !reply.Replayed {
					t.Error("joined reply is not replayed")
				}
				tt.c.wantRuns(t, 1)
			})
		})
	}
}

func TestJoinedWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			time.Sleep(time.Minute)
			return &rpc.Reply{}, nil
		}}
		h := intercept(t, c)
		go h(t.Context(), request("1"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := h(ctx, request("1"))
		wantError(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		if got := time.Since(start); got != time.Second {
			t.Errorf("waited %v, want 1s", got)
		}
		time.Sleep(time.Minute)
	})
}

// When the first did not run after all, who waited for it runs.
func TestJoinedTakesItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		c.do = func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			first := c.n.Load() == 1
			time.Sleep(time.Second)
			if first {
				return nil, rpc.Errorf(rpc.ResourceExhausted, "busy").WithExecuted(rpc.ExecutedNo)
			}
			return &rpc.Reply{}, nil
		}
		h := intercept(t, c)
		go h(t.Context(), request("1"))
		synctest.Wait()
		reply, err := h(t.Context(), request("1"))
		wantReply(t, reply, err, "", false)
		c.wantRuns(t, 2)
	})
}

func TestPanicIsRecorded(t *testing.T) {
	tests := []struct {
		name string
		do   func()
	}{
		{"panic", func() { panic("boom") }},
		{"goexit", runtime.Goexit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
				tt.do()
				return &rpc.Reply{}, nil
			}}
			h := intercept(t, c)
			done := make(chan any)
			go func() {
				var p any = "nothing"
				defer func() { done <- p }()
				defer func() { p = recover() }()
				_, _ = h(t.Context(), request("1"))
			}()
			if got := <-done; tt.name == "panic" && got != "boom" {
				t.Errorf("panic = %v, want boom", got)
			}
			_, err := h(t.Context(), request("1"))
			e := wantError(t, err, rpc.Internal, rpc.ExecutedUnknown)
			if strings.Contains(e.Message, "boom") {
				t.Errorf("message %q tells what is for the log", e.Message)
			}
			c.wantRuns(t, 1)
		})
	}
}

// faulty is a store that fails as its fields say.
type faulty struct {
	idempotency.Store
	begun      idempotency.Begun // instead of what Begin says, if it has a state
	begin      error
	complete   error
	settled    int   // Completes and Abandons
	settledCtx error // of their context
	settledBy  time.Time
	record     *idempotency.Record // the last that was completed
}

func (f *faulty) Begin(ctx context.Context, k idempotency.Key, fp idempotency.Fingerprint) (idempotency.Begun, error) {
	if f.begin != nil || f.begun.State != 0 {
		return f.begun, f.begin
	}
	return f.Store.Begin(ctx, k, fp)
}

func (f *faulty) Complete(ctx context.Context, token idempotency.Token, record *idempotency.Record) error {
	f.settle(ctx)
	f.record = record
	if f.complete != nil {
		if errors.Is(f.complete, idempotency.ErrUndone) {
			_ = f.Store.Abandon(ctx, token) // as a transaction that is rolled back
		}
		return f.complete
	}
	if f.begun.State != 0 {
		return nil
	}
	return f.Store.Complete(ctx, token, record)
}

func (f *faulty) Abandon(ctx context.Context, token idempotency.Token) error {
	f.settle(ctx)
	if f.begun.State != 0 {
		return nil
	}
	return f.Store.Abandon(ctx, token)
}

func (f *faulty) settle(ctx context.Context) {
	f.settled++
	f.settledCtx = ctx.Err()
	f.settledBy, _ = ctx.Deadline()
}

func TestStoreFails(t *testing.T) {
	broken := errors.New("SECRET dial 10.0.0.1: refused")
	shed := rpc.Errorf(rpc.ResourceExhausted, "full").WithExecuted(rpc.ExecutedNo).WithRetryAfter(time.Second)
	const soon = 100 * time.Millisecond
	tests := []struct {
		name       string
		store      faulty
		code       rpc.Code
		executed   rpc.Execution
		retryAfter time.Duration
		cause      error
		runs       int32
	}{
		{"begin fails", faulty{begin: broken}, rpc.Unavailable, rpc.ExecutedNo, 0, broken, 0},
		{"begin sheds", faulty{begin: shed}, rpc.ResourceExhausted, rpc.ExecutedNo, time.Second, shed, 0},
		{"no such state", faulty{begun: idempotency.Begun{State: 9}}, rpc.Internal, rpc.ExecutedNo, 0, nil, 0},
		{"undone each time", faulty{complete: idempotency.ErrUndone}, rpc.Aborted, rpc.ExecutedUnknown, soon, idempotency.ErrUndone, 10},
		{"complete fails", faulty{complete: broken}, rpc.Unavailable, rpc.ExecutedUnknown, soon, broken, 1},
		{
			"claim is lost", faulty{complete: fmt.Errorf("update: %w", idempotency.ErrLost)},
			rpc.Unavailable, rpc.ExecutedUnknown, soon, idempotency.ErrLost, 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &counter{}
			tt.store.Store = newLRU(t)
			h := rpc.Chain(c.handle, idempotency.Interceptor(&tt.store))
			reply, err := h(t.Context(), request("1"))
			e := wantError(t, err, tt.code, tt.executed)
			if reply != nil || e.RetryAfter != tt.retryAfter || tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("answer = %v, %#v, want retry after %v and cause %v", reply, e, tt.retryAfter, tt.cause)
			}
			if strings.Contains(e.Message, "SECRET") {
				t.Errorf("message %q tells what is for the log", e.Message)
			}
			c.wantRuns(t, tt.runs)
		})
	}
}

// A duplicate of a call that another process runs waits for that, and asks.
func TestRunsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := &counter{}, &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			time.Sleep(time.Second)
			return &rpc.Reply{Body: []byte("there")}, nil
		}}
		store := newLRU(t)
		go rpc.Chain(there.handle, idempotency.Interceptor(store))(t.Context(), request("1"))
		synctest.Wait()
		h := rpc.Chain(here.handle, idempotency.Interceptor(store))
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := h(short, request("1"))
		if e := wantError(t, err, rpc.Unavailable, rpc.ExecutedUnknown); e.RetryAfter != 100*time.Millisecond {
			t.Errorf("retry after %v, want 100ms", e.RetryAfter)
		}
		reply, err := h(t.Context(), request("1"))
		wantReply(t, reply, err, "there", true)
		here.wantRuns(t, 0)
	})
}

func TestEndedBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	c := &counter{}
	_, err := intercept(t, c)(ctx, request("1"))
	wantError(t, err, rpc.DeadlineExceeded, rpc.ExecutedNo)
	c.wantRuns(t, 0)
}

// What somebody ran who is gone runs again, unless it must not.
func TestOrphan(t *testing.T) {
	type key struct{}
	orphaned := idempotency.Begun{State: idempotency.Orphaned, Claims: 3, Bind: func(ctx context.Context) context.Context {
		return context.WithValue(ctx, key{}, "bound")
	}}
	c := &counter{do: func(ctx context.Context, _ *rpc.Request) (*rpc.Reply, error) {
		return &rpc.Reply{Body: fmt.Appendf(nil, "%v %d", ctx.Value(key{}), idempotency.ClaimsOf(ctx))}, nil
	}}
	store := &faulty{begun: orphaned}
	h := rpc.Chain(c.handle, idempotency.Interceptor(store))
	reply, err := h(t.Context(), request("1"))
	wantReply(t, reply, err, "bound 3", false)
	c.wantRuns(t, 1)

	req := request("2")
	req.AtMostOnce = true
	_, err = h(t.Context(), req)
	wantError(t, err, rpc.Unavailable, rpc.ExecutedUnknown)
	c.wantRuns(t, 1)
	if store.record == nil || store.record.Err == nil || store.record.Err.Executed != rpc.ExecutedUnknown {
		t.Errorf("recorded %+v, want the error: all duplicates are to get the same", store.record)
	}
}

// A call whose effect was undone runs again.
func TestUndoneRunsAgain(t *testing.T) {
	c := &counter{}
	store := &faulty{Store: newLRU(t), complete: idempotency.ErrUndone}
	c.do = func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		if c.n.Load() == 3 {
			store.complete = nil
		}
		return &rpc.Reply{Body: []byte("done")}, nil
	}
	reply, err := rpc.Chain(c.handle, idempotency.Interceptor(store))(t.Context(), request("1"))
	wantReply(t, reply, err, "done", false)
	c.wantRuns(t, 3)
}

// Who waits for a call whose outcome is not recorded must not get it either.
func TestJoinedDoesNotGetWhatIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			time.Sleep(time.Second)
			return &rpc.Reply{}, nil
		}}
		h := rpc.Chain(c.handle, idempotency.Interceptor(&faulty{Store: newLRU(t), complete: idempotency.ErrLost}))
		go h(t.Context(), request("1"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := h(ctx, request("1"))
		wantError(t, err, rpc.Unavailable, rpc.ExecutedUnknown)
		c.wantRuns(t, 1)
	})
}

// The outcome is recorded though nobody waits for it any more.
func TestSettlesAfterContextEnds(t *testing.T) {
	tests := []struct {
		name string
		err  error
	}{
		{"complete", nil},
		{"abandon", rpc.Errorf(rpc.DeadlineExceeded, "too late to start").WithExecuted(rpc.ExecutedNo)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
					cancel()
					if tt.err != nil {
						return nil, tt.err
					}
					return &rpc.Reply{}, nil
				}}
				store := &faulty{Store: newLRU(t)}
				_, err := rpc.Chain(c.handle, idempotency.Interceptor(store))(ctx, request("1"))
				if rpc.CodeOf(err) != rpc.CodeOf(tt.err) || store.settled != 1 || store.settledCtx != nil {
					t.Errorf("error = %v, settled %d times with context %v", err, store.settled, store.settledCtx)
				}
				if got := time.Until(store.settledBy); got != 5*time.Second {
					t.Errorf("bound = %v, want 5s", got)
				}
			})
		})
	}
}

func BenchmarkInterceptor(b *testing.B) {
	h := rpc.Chain(func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		return &rpc.Reply{Body: []byte("832040")}, nil
	}, idempotency.Interceptor(newLRU(b, idempotency.WithMinAge(0))))
	ids := make([]string, 1<<20)
	for i := range ids {
		ids[i] = fmt.Sprintf("%032x", i)
	}
	req := request("")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req.ID = ids[i%len(ids)]
		if _, err := h(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

// waits says that the call is in flight, and n times so, before faulty has its say.
type waits struct {
	faulty
	n int
}

func (w *waits) Begin(ctx context.Context, k idempotency.Key, f idempotency.Fingerprint) (idempotency.Begun, error) {
	if w.n > 0 {
		w.n--
		return idempotency.Begun{State: idempotency.InFlight}, nil
	}
	return w.faulty.Begin(ctx, k, f)
}

// However long a call had to wait for its turn, it does not run more than ten times.
func TestUndoneRunsAreBounded(t *testing.T) {
	for _, n := range []int{0, 9, 10, 50} {
		synctest.Test(t, func(t *testing.T) {
			c := &counter{}
			store := &waits{faulty: faulty{Store: newLRU(t), complete: idempotency.ErrUndone}, n: n}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := rpc.Chain(c.handle, idempotency.Interceptor(store))(ctx, request("1"))
			wantError(t, err, rpc.Aborted, rpc.ExecutedUnknown)
			c.wantRuns(t, 10)
		})
	}
}

func TestUndoneAtMostOnce(t *testing.T) {
	c := &counter{}
	req := request("1")
	req.AtMostOnce = true
	_, err := rpc.Chain(c.handle, idempotency.Interceptor(&faulty{Store: newLRU(t), complete: idempotency.ErrUndone}))(t.Context(), req)
	wantError(t, err, rpc.Aborted, rpc.ExecutedUnknown) // what it did elsewhere is not undone
	c.wantRuns(t, 1)
}

// A no of the second holder is none of the first, who is gone.
func TestOrphanIsNeverNo(t *testing.T) {
	c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "account is empty").WithExecuted(rpc.ExecutedNo)
	}}
	store := &faulty{Store: newLRU(t), begun: idempotency.Begun{State: idempotency.Orphaned, Claims: 2}}
	_, err := rpc.Chain(c.handle, idempotency.Interceptor(store))(t.Context(), request("1"))
	wantError(t, err, rpc.FailedPrecondition, rpc.ExecutedUnknown)
}
