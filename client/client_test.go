package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

var double = rpc.Method[int, int]{Service: "math", Name: "double"}

var quiet = server.WithLogger(slog.New(slog.DiscardHandler))

// rig is a broker, one client and the means to start servers, in a bubble of virtual time. When the test ends no call
// and no message may be left.
type rig struct {
	stop   func() // of the server, where a test has put it
	t      *testing.T
	broker *conntest.Broker
	conn   *conntest.Connector // of the client
	client *client.Client
}

// inBubble runs f with a rig.
func inBubble(t *testing.T, f func(t *testing.T, r *rig), opts ...client.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t, nil, opts...)) })
}

// newRig makes a rig whose client reaches the broker through what wrap makes of its connector.
func newRig(t *testing.T, wrap func(conn.Connector) conn.Connector, opts ...client.Option) *rig {
	t.Helper()
	r := &rig{t: t, broker: conntest.NewBroker()}
	r.conn = r.broker.Connector("client")
	var c conn.Connector = r.conn
	if wrap != nil {
		c = wrap(c)
	}
	var err error
	if r.client, err = client.New(c, opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		synctest.Wait()
		if n := r.client.Pending(); n != 0 {
			t.Errorf("%d calls are left", n)
		}
		if err := r.client.Close(context.Background()); err != nil {
			t.Errorf("close client: %v", err)
		}
		for _, q := range r.broker.Queues() {
			if q.Ready+q.Unacked+q.Consumers > 0 || strings.HasPrefix(q.Name, "amq.gen-") {
				t.Errorf("left behind: %+v", q)
			}
		}
		r.broker.Close()
	})
	return r
}

// serve runs a server with the handler fn for double until the function it returns is called, or the test ends.
func (r *rig) serve(c conn.Connector, fn func(context.Context, int) (int, error), opts ...server.Option) (*server.Server, func()) {
	r.t.Helper()
	s, err := server.New(c, "math", append([]server.Option{quiet}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	server.Handle(s, double, fn)
	return s, r.run(s)
}

func (r *rig) run(s *server.Server) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			r.t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	r.t.Cleanup(stop)
	<-s.Ready()
	return stop
}

// call calls double with n.
func (r *rig) call(ctx context.Context, n int, opts ...client.CallOption) (int, error) {
	return client.Call(ctx, r.client, double, n, opts...)
}

// mustCall makes a call that has to succeed.
func (r *rig) mustCall(n int, opts ...client.CallOption) {
	r.t.Helper()
	if got, err := r.call(r.t.Context(), n, opts...); got != 2*n || err != nil {
		r.t.Errorf("double %d: got %d, %v", n, got, err)
	}
}

func twice(_ context.Context, n int) (int, error) { return 2 * n, nil }

// slow makes a handler that takes d.
func slow(d time.Duration) func(context.Context, int) (int, error) {
	return func(_ context.Context, n int) (int, error) {
		time.Sleep(d)
		return 2 * n, nil
	}
}

// check compares an error of a call with what it must be.
func check(t *testing.T, err error, code rpc.Code, executed rpc.Execution, is ...error) {
	t.Helper()
	if rpc.CodeOf(err) != code || rpc.Executed(err) != executed {
		t.Errorf("got %v, executed %v, want %v, executed %v", err, rpc.Executed(err), code, executed)
	}
	for _, target := range is {
		if !errors.Is(err, target) {
			t.Errorf("got %v, want %v in its chain", err, target)
		}
	}
}

// took compares the time since start, which in a bubble is exact.
func took(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

// hooked is a connector with hooks in its sessions. Those that are nil do nothing.
type hooked struct {
	conn.Connector
	before  func(ctx context.Context) // each Session
	after   func()                    // each Session
	publish func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error
	consume func(conn.Consume) error // fails each Consume
	inspect func()                   // before each InspectQueue
	lookErr error                    // of each InspectQueue
	remove  func()                   // before each DeleteQueue
	gather  func(wait time.Duration)
	err     func(error) error // in place of that of the session, which means that the last message was refused
}

type hookedSession struct {
	conn.Session
	h *hooked
}

type hookedPublisher struct {
	conn.Publisher
	h    *hooked
	last atomic.Pointer[conn.Message]
}

func (h *hooked) Session(ctx context.Context) (conn.Session, error) {
	if h.before != nil {
		h.before(ctx)
	}
	s, err := h.Connector.Session(ctx)
	if h.after != nil {
		h.after()
	}
	return hookedSession{s, h}, err
}

func (s hookedSession) OpenPublisher(ctx context.Context, onReturn func(*conn.Return)) (conn.Publisher, error) {
	p, err := s.Session.OpenPublisher(ctx, onReturn)
	return &hookedPublisher{Publisher: p, h: s.h}, err
}

func (s hookedSession) Consume(ctx context.Context, c conn.Consume, handle func(*conn.Delivery)) (conn.Consumer, error) {
	if s.h.consume != nil {
		if err := s.h.consume(c); err != nil {
			return nil, err
		}
	}
	return s.Session.Consume(ctx, c, handle)
}

func (s hookedSession) InspectQueue(ctx context.Context, name string) (conn.QueueInfo, error) {
	if s.h.inspect != nil {
		s.h.inspect()
	}
	if s.h.lookErr != nil {
		return conn.QueueInfo{}, s.h.lookErr
	}
	return s.Session.InspectQueue(ctx, name)
}

func (s hookedSession) DeleteQueue(ctx context.Context, name string) error {
	if s.h.remove != nil {
		s.h.remove()
	}
	return s.Session.DeleteQueue(ctx, name)
}

func (s hookedSession) Gather(wait time.Duration, until time.Time) {
	if s.h.gather != nil {
		s.h.gather(wait)
	}
	s.Session.Gather(wait, until)
}

func (s hookedSession) Err() error {
	if s.h.err != nil {
		return s.h.err(s.Session.Err())
	}
	return s.Session.Err()
}

func (p *hookedPublisher) Refused() *conn.Message {
	if p.h.err != nil {
		return p.last.Load()
	}
	return p.Publisher.Refused()
}

func (p *hookedPublisher) Publish(m *conn.Message, confirmed func(bool)) error {
	p.last.Store(m)
	if p.h.publish != nil {
		return p.h.publish(p.Publisher, m, confirmed)
	}
	return p.Publisher.Publish(m, confirmed)
}

func TestCall(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), twice)
		for n := range 3 {
			r.mustCall(n)
		}
		if got, want := r.client.Stats(), (client.Stats{Calls: 3, OK: 3, Limit: 10_000}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestDo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s, err := server.New(r.broker.Connector("server"), "echo", quiet, server.WithName("echo-1"))
		if err != nil {
			t.Fatal(err)
		}
		var seen rpc.Request
		s.Handle("echo", func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
			seen = *r
			return &rpc.Reply{ContentType: "text/plain", Body: r.Body}, nil
		})
		r.run(s)
		sent := rpc.Request{
			Service: "echo", Method: "echo", ContentType: "application/octet-stream", Body: []byte("hi"),
			Header: rpc.Header{"tenant": "blue"}, ID: "mine", Client: "me", Attempt: 7,
		}
		reply, err := r.client.Do(t.Context(), &sent)
		if err != nil || string(reply.Body) != "hi" || reply.ContentType != "text/plain" || reply.Server != "echo-1" || reply.Replayed {
			t.Errorf("got %+v, %v", reply, err)
		}
		if seen.Header["tenant"] != "blue" || seen.ContentType != sent.ContentType || seen.Attempt != 1 || seen.Client != "billing" {
			t.Errorf("the handler got %+v", seen)
		}
		if seen.ID == "mine" || sent.ID != "mine" || sent.Attempt != 7 || sent.Client != "me" {
			t.Errorf("sent %+v, the handler got the ID %s", sent, seen.ID)
		}
	}, client.WithName("billing"))
}

func TestDeadline(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		code rpc.Code
		took time.Duration
	}{
		{"client's timeout first", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		}, rpc.DeadlineExceeded, 3 * time.Second},
		{"context's deadline first", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 1500*time.Microsecond)
		}, rpc.DeadlineExceeded, 1500 * time.Microsecond},
		{"cancelled in flight", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, rpc.Canceled, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.serve(r.broker.Connector("server"), slow(time.Minute), server.WithDrain(time.Hour))
				ctx, cancel := c.end(t.Context())
				defer cancel()
				start := time.Now()
				_, err := r.call(ctx, 1)
				check(t, err, c.code, rpc.ExecutedUnknown, rpc.ErrNoAnswer)
				took(t, start, c.took)
				time.Sleep(time.Hour)
				if got := r.client.Stats(); got.Late != 1 || got.Failed != 1 {
					t.Errorf("got %+v, want one reply that came too late", got)
				}
			}, client.WithTimeout(3*time.Second))
		})
	}
}

// Both ways of going on are ready when a context has ended: neither may send something, by chance.
func TestNothingIsSentWithoutTime(t *testing.T) {
	for _, c := range []struct {
		name string
		d    time.Duration
		code rpc.Code
	}{
		{"cancelled", time.Hour, rpc.Canceled},
		{"deadline over", -time.Second, rpc.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s, _ := r.serve(r.broker.Connector("server"), twice)
				r.mustCall(1)
				ctx, cancel := context.WithTimeout(t.Context(), c.d)
				cancel()
				for range 50 {
					_, err := r.call(ctx, 2)
					check(t, err, c.code, rpc.ExecutedNo, rpc.ErrNoAnswer)
				}
				synctest.Wait()
				if got := s.Stats().Received; got != 1 {
					t.Errorf("the server got %d requests, want 1", got)
				}
			})
		})
	}
}

// A call has one timer, however often an interceptor tries.
func TestTimeoutCoversInterceptors(t *testing.T) {
	insist := func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
			for range 2 {
				next(ctx, r)
			}
			return next(ctx, r)
		}
	}
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), slow(time.Minute), server.WithDrain(time.Hour))
		start := time.Now()
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedNo) // of the third try, which came too late to be sent
		took(t, start, 3*time.Second)
	}, client.WithTimeout(3*time.Second), client.WithInterceptors(insist))
}

// What an interceptor is given stays as it is, whatever becomes of the call.
func TestInterceptorsHaveTheirOwnRequest(t *testing.T) {
	var given *rpc.Request
	keep := func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
			given = r
			return next(ctx, r)
		}
	}
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), slow(0))
		r.mustCall(21)
		if given.ID != "" || given.Attempt != 0 || given.Client != "" {
			t.Errorf("got %+v, which belongs to the call", given)
		}
	}, client.WithInterceptors(keep))
}

// An interceptor may return before the calls do that it has made of one: they end with it.
func TestCallLeftBehind(t *testing.T) {
	left := make(chan error, 1)
	leave := func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
			go func() {
				_, err := next(ctx, r)
				left <- err
			}()
			time.Sleep(time.Second)
			return &rpc.Reply{Body: []byte("1")}, nil
		}
	}
	for name, c := range map[string]struct {
		serve    func(r *rig)
		executed rpc.Execution
	}{
		"waits for its reply": {func(r *rig) { r.serve(r.broker.Connector("server"), slow(time.Minute), server.WithDrain(time.Hour)) }, rpc.ExecutedUnknown},
		"waits for a session": {func(r *rig) { r.broker.Stop() }, rpc.ExecutedNo},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				c.serve(r)
				start := time.Now()
				_, err := r.call(t.Context(), 1)
				check(t, err, rpc.OK, rpc.ExecutedYes)
				check(t, <-left, rpc.Canceled, c.executed)
				took(t, start, time.Second)
			}, client.WithInterceptors(leave))
		})
	}
}

func TestRefusedBeforePublishing(t *testing.T) {
	good := func() *rpc.Request { return &rpc.Request{Service: "math", Method: "double", Body: []byte("1")} }
	for _, c := range []struct {
		name string
		edit func(*rpc.Request)
		want rpc.Code
	}{
		{"no service", func(r *rpc.Request) { r.Service = "" }, rpc.InvalidArgument},
		{"service with a wildcard", func(r *rpc.Request) { r.Service = "#" }, rpc.InvalidArgument},
		{"service that names a parked queue", func(r *rpc.Request) { r.Service = "math.parked" }, rpc.InvalidArgument},
		{"no method", func(r *rpc.Request) { r.Method = "" }, rpc.InvalidArgument},
		{"method too long", func(r *rpc.Request) { r.Method = strings.Repeat("x", 101) }, rpc.InvalidArgument},
		{"header of the protocol", func(r *rpc.Request) { r.Header = rpc.Header{"rpc-timeout-ms": "1"} }, rpc.InvalidArgument},
		{"header of the broker", func(r *rpc.Request) { r.Header = rpc.Header{"x-death": "1"} }, rpc.InvalidArgument},
		{"routing header", func(r *rpc.Request) { r.Header = rpc.Header{"CC": "rpc_queue"} }, rpc.InvalidArgument},
		{"header name too long", func(r *rpc.Request) { r.Header = rpc.Header{strings.Repeat("x", 256): ""} }, rpc.InvalidArgument},
		{"content type too long", func(r *rpc.Request) { r.ContentType = strings.Repeat("x", 256) }, rpc.InvalidArgument},
		{"headers too long", func(r *rpc.Request) { r.Header = rpc.Header{"a": strings.Repeat("x", 64<<10)} }, rpc.InvalidArgument},
		{"too many headers", func(r *rpc.Request) {
			r.Header = make(rpc.Header)
			for n := range 100 {
				r.Header[fmt.Sprint("a", n)] = ""
			}
		}, rpc.InvalidArgument},
		{"body too long", func(r *rpc.Request) { r.Body = make([]byte, 5<<20) }, rpc.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s, _ := r.serve(r.broker.Connector("server"), twice)
				session, err := r.conn.Session(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				bad := good()
				c.edit(bad)
				_, err = r.client.Do(t.Context(), bad)
				check(t, err, c.want, rpc.ExecutedNo)
				if _, err := r.client.Do(t.Context(), good()); err != nil {
					t.Errorf("a good call afterwards: %v", err)
				}
				if got := s.Stats().Received; got != 1 || session.Err() != nil {
					t.Errorf("the server got %d requests, want 1; session: %v", got, session.Err())
				}
			})
		})
	}
}

func TestUnencodableRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		m := rpc.Method[chan int, int]{Service: "math", Name: "double"}
		_, err := client.Call(t.Context(), r.client, m, nil)
		check(t, err, rpc.Internal, rpc.ExecutedNo, rpc.ErrNoAnswer)
	})
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]client.Option{
		"no timeout":       client.WithTimeout(0),
		"timeout too long": client.WithTimeout(25 * time.Hour),
		"no name":          client.WithName(""),
		"name too long":    client.WithName(strings.Repeat("x", 256)),
		"queue too long":   client.WithQueue(strings.Repeat("x", 256)),
		"no place":         client.WithMaxInFlight(0),
		"no request":       client.WithMaxBody(0),
		"no reply":         client.WithMaxReply(0),
	} {
		if c, err := client.New(nil, o); err == nil || c != nil {
			t.Errorf("%s: got %v, %v", name, c, err)
		}
	}
}

func TestClose(t *testing.T) {
	for _, c := range []struct {
		name     string
		setUp    func(r *rig)
		executed rpc.Execution
	}{
		{"in flight", func(*rig) {}, rpc.ExecutedUnknown},
		{"no connection", func(r *rig) { r.broker.Stop(); r.t.Cleanup(r.broker.Start) }, rpc.ExecutedNo},
		{"broker blocked", func(r *rig) { r.broker.Block(); r.t.Cleanup(r.broker.Unblock) }, rpc.ExecutedNo},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.serve(r.broker.Connector("server"), slow(time.Second), server.WithDrain(time.Hour))
				r.mustCall(1)
				c.setUp(r)
				var calls sync.WaitGroup
				for range 3 {
					calls.Go(func() {
						_, err := r.call(t.Context(), 2)
						check(t, err, rpc.Canceled, c.executed, rpc.ErrNoAnswer)
					})
				}
				time.Sleep(500 * time.Millisecond)
				start := time.Now()
				if err := r.client.Close(t.Context()); err != nil {
					t.Errorf("close: %v", err)
				}
				calls.Wait()
				took(t, start, 0)
				_, err := r.call(t.Context(), 3)
				check(t, err, rpc.Canceled, rpc.ExecutedNo)
				if err := r.client.Close(t.Context()); err != nil {
					t.Errorf("close again: %v", err)
				}
				time.Sleep(time.Second) // the handlers end
			})
		})
	}
}

// What waits for servers that should come back is in flight too.
func TestCloseWhileServersReturn(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		_, stop := r.serve(r.broker.Connector("server"), twice)
		r.mustCall(1)
		stop()
		r.conn.Lose()
		time.AfterFunc(time.Second, func() { r.client.Close(context.Background()) })
		start := time.Now()
		_, err := r.call(t.Context(), 2)
		check(t, err, rpc.Canceled, rpc.ExecutedNo)
		took(t, start, time.Second)
	})
}

// The session may be shared, and outlive what could not be set up in it.
func TestFailedSetUpLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 3
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, consume: func(conn.Consume) error {
				if failures == 0 {
					return nil
				}
				failures--
				return errors.New("no answer")
			}}
		})
		r.serve(r.broker.Connector("server"), twice, server.WithoutDiscovery())
		r.mustCall(1)
		if got := len(r.broker.Queues()); failures != 0 || got != 2 {
			t.Errorf("%d queues, want 2: %+v", got, r.broker.Queues())
		}
	})
}

// echo serves the service echo, whose one method shows its request to see and sends the body back, and sleeps if that is
// "sleep".
func (r *rig) echo(see func(*rpc.Request), opts ...server.Option) {
	r.t.Helper()
	s, err := server.New(r.broker.Connector("echo"), "echo", append([]server.Option{quiet}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	s.Handle("echo", func(_ context.Context, req *rpc.Request) (*rpc.Reply, error) {
		see(req)
		if string(req.Body) == `"sleep"` {
			time.Sleep(10 * time.Second)
		}
		return &rpc.Reply{ContentType: req.ContentType, Body: req.Body}, nil
	})
	r.run(s)
}

// A call that got a session just before it died comes to set it up when others use the next.
func TestStaleSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later atomic.Bool
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, after: func() {
				if !later.Swap(true) {
					time.Sleep(time.Second)
				}
			}}
		})
		r.serve(r.broker.Connector("server"), twice, server.WithoutDiscovery())
		var first sync.WaitGroup
		first.Go(func() { r.mustCall(1) })
		synctest.Wait()
		r.conn.Lose()
		r.mustCall(2)
		first.Wait()
		r.mustCall(3)
		if got := r.broker.Queues(); len(got) != 2 { // that of the service, and one for replies
			t.Errorf("%d queues, want 2: %+v", len(got), got)
		}
	})
}

// Close does not wait for a broker that is slow to undo what was being set up.
func TestCloseObeysItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp := make(chan struct{})
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{
				Connector: c,
				consume:   func(conn.Consume) error { <-setUp; return errors.New("no answer") },
				remove:    func() { time.Sleep(10 * time.Second) },
			}
		})
		go r.call(t.Context(), 1)
		synctest.Wait()
		time.AfterFunc(time.Second/2, func() { close(setUp) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.client.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want deadline exceeded", err)
		}
		took(t, start, time.Second)
		time.Sleep(time.Minute)
	})
}

// Who closes with a context that has ended does not wait, and leaves nothing behind in a session that lives on.
func TestCloseWithoutTime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.conn, twice, server.WithoutDiscovery())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		before := len(r.broker.Queues())
		for range 10 {
			c, err := client.New(r.conn)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Call(t.Context(), c, double, 1); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			c.Close(ended)
			took(t, start, 0)
		}
		synctest.Wait()
		if got := r.broker.Queues(); len(got) != before {
			t.Errorf("%d queues, want %d: %+v", len(got), before, got)
		}
	})
}

// A connector that is closed will never have a session: nobody waits for one, and who waited for an answer has none to wait for.
func TestConnectorIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), slow(10*time.Second), server.WithDrain(time.Minute))
		out := make(chan error)
		go func() {
			_, err := r.call(t.Context(), 1, client.WithTimeout(time.Minute))
			out <- err
		}()
		time.Sleep(time.Second)
		start := time.Now()
		if err := r.conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		check(t, <-out, rpc.Unavailable, rpc.ExecutedUnknown, conn.ErrNotConnected)
		for _, opts := range [][]client.CallOption{nil, {client.WaitForServer()}, {client.FailFast()}} {
			_, err := r.call(t.Context(), 1, opts...)
			check(t, err, rpc.Unavailable, rpc.ExecutedNo, conn.ErrNotConnected)
		}
		took(t, start, 0)
	})
}

// A reply of an interceptor is its own, and may be given to others.
func TestReplyIsNotChanged(t *testing.T) {
	reply := &rpc.Reply{Body: []byte("2")}
	inBubble(t, func(t *testing.T, r *rig) {
		r.mustCall(1)
		if reply.ContentType != "" {
			t.Errorf("its content type is %q now", reply.ContentType)
		}
	}, client.WithQueue("rpc_queue"), client.WithInterceptors(func(rpc.Handler) rpc.Handler {
		return func(context.Context, *rpc.Request) (*rpc.Reply, error) { return reply, nil }
	}))
}

// A client that is closed is garbage, however long its calls could have taken.
func TestClosedClientIsForgotten(t *testing.T) {
	b := conntest.NewBroker()
	t.Cleanup(b.Close)
	r := &rig{t: t, broker: b}
	r.serve(b.Connector("server"), twice)
	shared := b.Connector("client")
	last := func() weak.Pointer[client.Client] {
		c, err := client.New(shared, client.WithTimeout(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Call(t.Context(), c, double, 1); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return weak.Make(c)
	}()
	for limit := time.Now().Add(10 * time.Second); last.Value() != nil; runtime.GC() {
		if time.Now().After(limit) {
			t.Fatal("something still refers to it")
		}
	}
}
