package deadline

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type testKey struct{}

type otherKey struct{}

var errStopped = errors.New("stopped")

// A context and one of package context that everything is done to alike cannot be told apart.
func TestContext(t *testing.T) {
	const timeout = time.Second
	for _, c := range []struct {
		name string
		do   func(stop, end, wait func())
	}{
		{"nothing", func(_, _, _ func()) {}},
		{"deadline", func(_, _, wait func()) { wait() }},
		{"end", func(_, end, _ func()) { end() }},
		{"stop", func(stop, _, _ func()) { stop() }},
		{"stop, end", func(stop, end, _ func()) { stop(); end() }},
		{"end, stop", func(stop, end, _ func()) { end(); stop() }},
		{"end, deadline", func(_, end, wait func()) { end(); wait() }},
		{"deadline, end", func(_, end, wait func()) { wait(); end() }},
		{"stop, deadline", func(stop, _, wait func()) { stop(); wait() }},
		{"deadline, stop", func(stop, _, wait func()) { wait(); stop() }},
	} {
		for _, when := range []string{"told", "looks", "looks later"} { // at what happens, or after it
			if c.name == "deadline, stop" && when == "looks later" {
				continue // it does not know
			}
			t.Run(c.name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var got [2]observed
					for i, begin := range []func(context.Context, time.Time) (context.Context, func()){ours, theirs} {
						base, stop := context.WithCancelCause(context.WithValue(t.Context(), testKey{}, "value"))
						ctx, end := begin(base, time.Now().Add(timeout))
						var o *observer
						if when == "told" {
							o = observe(ctx)
						}
						then := func(do func()) func() {
							return func() {
								do()
								if synctest.Wait(); when == "looks" {
									ctx.Err()
								}
							}
						}
						c.do(then(func() { stop(errStopped) }), then(end), then(func() { time.Sleep(timeout) }))
						if o == nil {
							o = observe(ctx)
						}
						synctest.Wait()
						got[i] = o.observed()
						o.end()
						end()
						stop(nil)
					}
					if got[0] != got[1] {
						t.Errorf("got %+v, want %+v", got[0], got[1])
					}
				})
			})
		}
	}
}

func ours(base context.Context, deadline time.Time) (context.Context, func()) {
	c := begin(base, deadline)
	return c, c.End
}

func begin(base context.Context, at time.Time) *Context {
	c := new(Context)
	c.Begin(base, at)
	return c
}

func theirs(base context.Context, deadline time.Time) (context.Context, func()) {
	return context.WithDeadline(base, deadline)
}

// An observer of a context has children of each kind.
type observer struct {
	ctx, child, valued context.Context
	end                func()
	called             bool
}

// observed is what can be seen of a context.
type observed struct {
	err, cause, childErr, childCause, valuedErr, valuedCause error
	done, called                                             bool
	value                                                    any
	left                                                     time.Duration
}

func observe(ctx context.Context) *observer {
	o := &observer{ctx: ctx}
	child, end := context.WithCancel(ctx)
	valued, endValued := context.WithTimeout(context.WithValue(ctx, otherKey{}, 1), time.Hour)
	context.AfterFunc(ctx, func() { o.called = true })
	o.child, o.valued, o.end = child, valued, func() { end(); endValued() }
	return o
}

func (o *observer) observed() observed {
	deadline, _ := o.ctx.Deadline()
	s := observed{
		err: o.ctx.Err(), cause: context.Cause(o.ctx), childErr: o.child.Err(), childCause: context.Cause(o.child),
		valuedErr: o.valued.Err(), valuedCause: context.Cause(o.valued), called: o.called, value: o.ctx.Value(testKey{}),
		left: time.Until(deadline),
	}
	select {
	case <-o.ctx.Done():
		s.done = true
	default:
	}
	return s
}

// A child is registered with its parent, without a goroutine that waits for that.
func TestContextChildren(t *testing.T) {
	ctx := begin(t.Context(), time.Now().Add(time.Hour))
	defer ctx.End()
	n := testing.AllocsPerRun(100, func() {
		_, cancel := context.WithCancel(ctx)
		cancel()
	})
	if want := testing.AllocsPerRun(100, func() {
		_, cancel := context.WithCancel(t.Context())
		cancel()
	}); n != want {
		t.Errorf("a child takes %v allocations, want %v as of any other context", n, want)
	}
}

// Who learns of the deadline by other means waits without a timer.
func TestDoneEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			do   func(c *Context, stop func())
			done bool
		}{
			"base ended":     {func(_ *Context, stop func()) { stop() }, true},
			"deadline":       {func(*Context, func()) { time.Sleep(time.Second) }, false},
			"ended":          {func(c *Context, _ func()) { c.End() }, false},
			"ended and told": {func(c *Context, _ func()) { c.Done(); c.End() }, true},
		} {
			base, stop := context.WithCancel(t.Context())
			ctx := begin(base, time.Now().Add(time.Second))
			c.do(ctx, stop)
			select {
			case <-ctx.DoneEarly():
				if !c.done {
					t.Errorf("%s: done", name)
				}
			default:
				if c.done {
					t.Errorf("%s: not done", name)
				}
			}
			ctx.End()
			stop()
		}
	})
}

// Who waits for a while learns of the end, and leaves no timer behind.
func TestWait(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(c *Context, stop func())
		err   error
		asked bool
	}{
		"released":           {func(*Context, func()) {}, nil, false},
		"released and asked": {func(c *Context, _ func()) { c.Done() }, nil, true},
		"base ended":         {func(_ *Context, stop func()) { stop() }, context.Canceled, false},
		"deadline":           {func(*Context, func()) { time.Sleep(time.Second) }, context.DeadlineExceeded, false},
		"ended":              {func(c *Context, _ func()) { c.End() }, context.Canceled, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base, stop := context.WithCancel(t.Context())
				defer stop()
				ctx := begin(base, time.Now().Add(time.Second))
				first, release := ctx.Wait()
				second, releaseToo := ctx.Wait()
				c.do(ctx, stop)
				synctest.Wait()
				releaseToo()
				if first.Err() != c.err || second.Err() != c.err {
					t.Errorf("got %v and %v, want %v", first.Err(), second.Err(), c.err)
				}
				release()
				if left := ctx.told != nil; left != (c.asked || c.err != nil) {
					t.Errorf("a timer is left: %v", left)
				}
				if ctx.Err() != c.err {
					t.Errorf("got %v at last, want %v", ctx.Err(), c.err)
				}
				ctx.End()
				if ctx.Err() == nil {
					t.Error("did not end")
				}
			})
		})
	}
}

// Who looks at the deadline, while another waits, and then waits until the end, learns of it, though the other is released in between.
func TestReleaseAtDeadline(t *testing.T) {
	for range 50 { // which of two timers comes first is for chance to say
		synctest.Test(t, func(t *testing.T) {
			ctx := begin(t.Context(), time.Now().Add(time.Second))
			defer ctx.End()
			alarm := time.NewTimer(time.Second)
			_, release := ctx.Wait()
			<-alarm.C
			err := ctx.Err()
			release()
			if err == nil {
				<-ctx.DoneEarly() // a deadlock if not
			}
		})
	}
}

// The cause is that of the base, whichever way it ended.
func TestCause(t *testing.T) {
	errOurs := errors.New("ours")
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			base, cancel := context.WithTimeoutCause(t.Context(), time.Second, errOurs)
			defer cancel()
			ctx := begin(base, time.Now().Add(time.Minute))
			defer ctx.End()
			if asked {
				ctx.Done()
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if ctx.Err() != context.DeadlineExceeded || context.Cause(ctx) != errOurs {
				t.Errorf("asked for Done %v: got %v because of %v", asked, ctx.Err(), context.Cause(ctx))
			}
		})
	}
}

// All of it may be used at the same time.
func TestContextConcurrently(t *testing.T) {
	for range 100 {
		ctx := begin(t.Context(), time.Now().Add(time.Millisecond))
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { <-ctx.Done() })
			wg.Go(func() {
				if first := ctx.Err(); first != nil && ctx.Err() != first {
					t.Errorf("got %v, then %v", first, ctx.Err())
				}
			})
			wg.Go(func() { ctx.Value(testKey{}); context.Cause(ctx) })
		}
		ctx.End()
		wg.Wait()
		if ctx.Err() == nil {
			t.Error("ended without an error")
		}
	}
}

func BenchmarkContext(b *testing.B) {
	base, stop := context.WithCancel(context.Background())
	defer stop()
	deadline := time.Now().Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		ctx := begin(base, deadline)
		if ctx.Err() != nil {
			b.Fatal("ended")
		}
		ctx.End()
	}
}
