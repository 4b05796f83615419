package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

var double = rpc.Method[int, int]{Service: "math", Name: "double"}

func twice(_ context.Context, n int) (int, error) { return 2 * n, nil }

// slow makes a handler that takes d, and counts its runs.
func slow(d time.Duration, runs *counter) func(context.Context, int) (int, error) {
	return func(_ context.Context, n int) (int, error) {
		runs.add(1)
		defer runs.add(-1)
		time.Sleep(d)
		return 2 * n, nil
	}
}

// counter counts what goes on at a time.
type counter struct {
	mu              sync.Mutex
	now, most, runs int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
	c.runs += max(n, 0)
}

func (c *counter) ran() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs
}

// rig is a broker, a caller made by hand and the means to start servers, in a bubble of virtual time. When the test ends
// no message may be left.
type rig struct {
	*caller
	broker *conntest.Broker
	conn   *conntest.Connector // of the server
	log    *logged
}

func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{broker: conntest.NewBroker(), log: &logged{}}
		r.conn = r.broker.Connector("server")
		t.Cleanup(func() {
			synctest.Wait()
			for _, q := range r.broker.Queues() {
				if q.Ready+q.Unacked > 0 {
					t.Errorf("left behind: %+v", q)
				}
			}
			r.broker.Close()
		})
		r.caller = newCaller(t, r.broker)
		f(t, r)
	})
}

// logged is all that a server said, as text.
type logged = testlog.Log

// process is a server that runs.
type process struct {
	*server.Server
	cancel  context.CancelFunc
	stopped chan struct{}
	err     error // of Run
}

// start runs a server that serves double with fn, until the test ends or it is stopped.
func (r *rig) start(c conn.Connector, fn func(context.Context, int) (int, error), opts ...server.Option) *process {
	r.t.Helper()
	p := r.launch(c, func(s *server.Server) { server.Handle(s, double, fn) }, opts...)
	select {
	case <-p.Ready():
	case <-p.stopped:
		r.t.Fatalf("run: %v", p.err)
	}
	return p
}

func (r *rig) launch(c conn.Connector, register func(*server.Server), opts ...server.Option) *process {
	r.t.Helper()
	opts = append([]server.Option{server.WithName("host/1"), server.WithLogger(slog.New(slog.NewTextHandler(r.log, nil)))}, opts...)
	s, err := server.New(c, "math", opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	register(s)
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{Server: s, cancel: cancel, stopped: make(chan struct{})}
	go func() {
		defer close(p.stopped)
		p.err = s.Run(ctx)
	}()
	r.t.Cleanup(func() { p.stop() })
	return p
}

// stop ends Run and returns its error.
func (p *process) stop() error {
	p.cancel()
	<-p.stopped
	return p.err
}

// caller is a client made by hand.
type caller struct {
	t         *testing.T
	conn      *conntest.Connector
	publisher conn.Publisher
	replyTo   string
	ids       int

	mu      sync.Mutex      // guards got
	running []*conn.Message // what says that requests run
	got     []*conn.Message
}

func newCaller(t *testing.T, b *conntest.Broker) *caller {
	t.Helper()
	c := &caller{t: t, conn: b.Connector("caller")}
	ctx := t.Context()
	s, err := c.conn.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c.publisher, err = s.OpenPublisher(ctx, func(r *conn.Return) { t.Errorf("returned: %+v", r) }); err != nil {
		t.Fatal(err)
	}
	c.replyTo = c.listen(conn.Queue{Exclusive: true, AutoDelete: true})
	return c
}

// listen takes what comes into q, and returns its name.
func (c *caller) listen(q conn.Queue) string {
	c.t.Helper()
	ctx := c.t.Context()
	s, err := c.conn.Session(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	info, err := s.DeclareQueue(ctx, q)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = s.Consume(ctx, conn.Consume{Queue: info.Name, NoAck: true}, func(d *conn.Delivery) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if wire.SaysRunning(&d.Message) {
			c.running = append(c.running, &d.Message)
			return
		}
		c.got = append(c.got, &d.Message)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return info.Name
}

// request makes a call of double that waits in the service's queue for up to ten seconds, each with a call ID of its own.
func (c *caller) request(body string, edits ...func(*conn.Message)) *conn.Message {
	c.ids++
	m := wire.EncodeRequest(&rpc.Request{
		Service: "math", Method: "double", ContentType: "application/json", Body: []byte(body),
		ID: "id-" + strconv.Itoa(c.ids), Client: "caller", Attempt: 1,
	}, wire.Attempt{Mode: wire.Queued, ReplyTo: c.replyTo, Timeout: 10 * time.Second})
	for _, edit := range edits {
		edit(m)
	}
	return m
}

// plain makes a call as the client of RabbitMQ's tutorial 6 does.
func (c *caller) plain(body string, edits ...func(*conn.Message)) *conn.Message {
	c.ids++
	m := &conn.Message{Key: "rpc_queue", ReplyTo: c.replyTo, CorrelationID: "id-" + strconv.Itoa(c.ids), Body: []byte(body)}
	for _, edit := range edits {
		edit(m)
	}
	return m
}

func (c *caller) send(m *conn.Message) {
	c.t.Helper()
	if err := c.publisher.Publish(m, nil); err != nil {
		c.t.Fatal(err)
	}
}

// replies returns what has come since it was asked last.
func (c *caller) replies() []*conn.Message {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// reply returns the one message that must have come.
func (c *caller) reply() *conn.Message {
	c.t.Helper()
	got := c.replies()
	if len(got) != 1 {
		c.t.Fatalf("got %d replies, want 1: %v", len(got), got)
	}
	return got[0]
}

// ask sends a request and returns what its reply says.
func (c *caller) ask(m *conn.Message) (*rpc.Reply, error) {
	c.t.Helper()
	c.send(m)
	got := c.reply()
	if got.CorrelationID != m.CorrelationID {
		c.t.Errorf("got the reply to %q, want that to %q", got.CorrelationID, m.CorrelationID)
	}
	return wire.DecodeReply(got)
}

// mustAnswer makes sure that the server answers calls.
func (c *caller) mustAnswer() {
	c.t.Helper()
	if reply, err := c.ask(c.request("21")); err != nil || string(reply.Body) != "42" {
		c.t.Errorf("a good call: got %v, %v", reply, err)
	}
}

// check compares the error in a reply with what it must be.
func check(t *testing.T, err error, code rpc.Code, executed rpc.Execution) {
	t.Helper()
	if rpc.CodeOf(err) != code || rpc.Executed(err) != executed {
		t.Errorf("got %v, executed %v, want %v, executed %v", err, rpc.Executed(err), code, executed)
	}
}

func took(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

// hooked is a connector with hooks in its sessions. Those that are nil do nothing.
type hooked struct {
	conn.Connector
	declare func() error // fails DeclareQueue
	publish func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error
	dial    func(conn.Session) // after each Dial
	gather  func(wait time.Duration, until time.Time)
	consume func(conn.Consume)
	inspect func(ctx context.Context, queue string) error // fails InspectQueue

	mu         sync.Mutex // guards publishers
	publishers int        // opened, and not closed
}

type hookedSession struct {
	conn.Session
	h *hooked
}

type hookedPublisher struct {
	conn.Publisher
	h *hooked
}

func (h *hooked) Session(ctx context.Context) (conn.Session, error) {
	s, err := h.Connector.Session(ctx)
	return hookedSession{s, h}, err
}

func (h *hooked) Dial(ctx context.Context) (conn.Session, error) {
	s, err := h.Connector.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if h.dial != nil {
		h.dial(s)
	}
	return hookedSession{s, h}, nil
}

func (s hookedSession) OpenPublisher(ctx context.Context, onReturn func(*conn.Return)) (conn.Publisher, error) {
	s.h.mu.Lock()
	s.h.publishers++
	s.h.mu.Unlock()
	p, err := s.Session.OpenPublisher(ctx, onReturn)
	return hookedPublisher{p, s.h}, err
}

func (s hookedSession) DeclareQueue(ctx context.Context, q conn.Queue) (conn.QueueInfo, error) {
	if s.h.declare != nil {
		if err := s.h.declare(); err != nil {
			return conn.QueueInfo{}, err
		}
	}
	return s.Session.DeclareQueue(ctx, q)
}

func (s hookedSession) Consume(ctx context.Context, c conn.Consume, handle func(*conn.Delivery)) (conn.Consumer, error) {
	if s.h.consume != nil {
		s.h.consume(c)
	}
	return s.Session.Consume(ctx, c, handle)
}

func (s hookedSession) InspectQueue(ctx context.Context, name string) (conn.QueueInfo, error) {
	if s.h.inspect != nil {
		if err := s.h.inspect(ctx, name); err != nil {
			return conn.QueueInfo{}, err
		}
	}
	return s.Session.InspectQueue(ctx, name)
}

func (s hookedSession) Gather(wait time.Duration, until time.Time) {
	if s.h.gather != nil {
		s.h.gather(wait, until)
	}
	s.Session.Gather(wait, until)
}

func (p hookedPublisher) Close(ctx context.Context) error {
	p.h.mu.Lock()
	p.h.publishers--
	p.h.mu.Unlock()
	return p.Publisher.Close(ctx)
}

func (p hookedPublisher) Publish(m *conn.Message, confirmed func(bool)) error {
	if p.h.publish != nil {
		return p.h.publish(p.Publisher, m, confirmed)
	}
	return p.Publisher.Publish(m, confirmed)
}

func TestAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.start(r.conn, twice)
		r.send(r.request("21"))
		got := r.reply()
		if got.ContentType != "application/json" || string(got.Body) != "42" || got.CorrelationID != "id-1" {
			t.Errorf("got %+v", got)
		}
		for _, name := range []string{"rpc-version", "rpc-timeout-ms"} {
			if v, ok := got.Headers[name]; ok {
				t.Errorf("header %s: %v of the request is in the reply", name, v)
			}
		}
		r.mustAnswer()
		if got, want := p.Stats(), (server.Stats{Received: 2, Answered: 2, Limit: 16, Workers: 16, Serving: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// The server says itself that it is there.
func TestPing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(0, &runs))
		reply, err := r.ask(r.request("", func(m *conn.Message) { m.Type = wire.Ping }))
		if err != nil || reply.Server != "host/1" || len(reply.Body) != 0 || runs.ran() != 0 {
			t.Errorf("got %+v, %v of %d runs, want the server's name alone", reply, err, runs.ran())
		}
	})
}

func TestHandlerContext(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		start := time.Now()
		var left []time.Duration
		r.start(r.conn, func(ctx context.Context, n int) (int, error) {
			deadline, _ := ctx.Deadline()
			left = append(left, deadline.Sub(start))
			return n, ctx.Err()
		}, server.WithTimeout(7*time.Second), server.WithQueue("rpc_queue", "double"))
		r.ask(r.request("1"))
		r.ask(r.request("1", func(m *conn.Message) { m.Headers["rpc-timeout-ms"] = int64(1500) }))
		r.ask(r.plain("1"))
		r.ask(r.plain("1", func(m *conn.Message) { m.Expiration = "2500" }))
		want := []time.Duration{10 * time.Second, 1500 * time.Millisecond, 7 * time.Second, 2500 * time.Millisecond}
		if fmt.Sprint(left) != fmt.Sprint(want) {
			t.Errorf("the handlers had %v, want %v", left, want)
		}
	})
}

// A request whose time is over before a worker has some for it is not worth the work.
func TestExpiredIsNotStarted(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var c counter
		p := r.start(r.conn, slow(2*time.Second, &c), server.WithWorkers(1), server.WithQueue("rpc_queue", "double"))
		r.send(r.request("1"))
		synctest.Wait()
		r.send(r.plain("2", func(m *conn.Message) { m.Expiration = "2000" })) // is with the server, for the other queue has room
		time.Sleep(3 * time.Second)
		if got := r.replies(); len(got) != 1 || c.ran() != 1 || p.Stats().Expired != 1 {
			t.Errorf("%d replies, %d runs, %+v, want one of each", len(got), c.ran(), p.Stats())
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name, service string
		opt           server.Option
	}{
		{"no service", "", server.WithDrain(0)},
		{"service with a dot", "math.parked", server.WithDrain(0)},
		{"no workers", "math", server.WithWorkers(0)},
		{"too many workers", "math", server.WithWorkers(10_001)},
		{"negative drain limit", "math", server.WithDrain(-1)},
		{"no timeout", "math", server.WithTimeout(0)},
		{"timeout too long", "math", server.WithTimeout(25 * time.Hour)},
		{"no name", "math", server.WithName("")},
		{"name too long", "math", server.WithName(strings.Repeat("x", 256))},
		{"user too long", "math", server.WithUser(strings.Repeat("x", 256))},
		{"queue too long", "math", server.WithQueue(strings.Repeat("x", 256), "")},
		{"the service's own queue as a plain one", "math", server.WithQueue("rabbitrpc.math", "")},
		{"negative delivery limit", "math", server.WithQuorumQueue(-1)},
		{"delivery limit too high", "math", server.WithQuorumQueue(1001)},
	} {
		if s, err := server.New(nil, c.service, c.opt); err == nil || s != nil {
			t.Errorf("%s: got %v, %v", c.name, s, err)
		}
	}
}

func TestHandlePanics(t *testing.T) {
	handler := func(context.Context, *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{}, nil }
	for name, f := range map[string]func(*server.Server){
		"no name":           func(s *server.Server) { s.Handle("", handler) },
		"no method's name":  func(s *server.Server) { s.Handle("a b", handler) },
		"name is taken":     func(s *server.Server) { server.Handle(s, double, twice); s.Handle("double", handler) },
		"another's method":  func(s *server.Server) { server.Handle(s, rpc.Method[int, int]{Service: "x", Name: "y"}, twice) },
		"server has run":    func(s *server.Server) { s.Run(context.Background()); s.Handle("double", handler) },
		"typed, and it ran": func(s *server.Server) { s.Run(context.Background()); server.Handle(s, double, twice) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := server.New(nil, "math")
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			f(s)
		})
	}
}

func TestRunRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if p := r.launch(r.conn, func(*server.Server) {}); p.wait() == nil {
			t.Error("a server without methods runs")
		}
		p := r.launch(r.conn, func(s *server.Server) { server.Handle(s, double, twice) }, server.WithQueue("rpc_queue", "triple"))
		if p.wait() == nil {
			t.Error("a server without its default method runs")
		}
		p = r.start(r.conn, twice)
		if err := p.Run(t.Context()); err == nil {
			t.Error("a server runs twice")
		}
		r.mustAnswer()
	})
}

// wait returns the error of a Run that ends by itself.
func (p *process) wait() error {
	<-p.stopped
	return p.err
}

func TestTypedHandler(t *testing.T) {
	ratio := rpc.Method[struct{ A, B float64 }, float64]{Service: "math", Name: "ratio"}
	for _, c := range []struct {
		name, contentType, body string
		want                    string
		code                    rpc.Code
		executed                rpc.Execution
	}{
		{"JSON", "application/json", `{"A":1,"B":2}`, "0.5", rpc.OK, rpc.ExecutedYes},
		{"no content type", "", `{"A":1,"B":2}`, "0.5", rpc.OK, rpc.ExecutedYes},
		{"unknown member", "application/json", `{"A":1,"B":2,"C":3}`, "0.5", rpc.OK, rpc.ExecutedYes},
		{"malformed", "application/json", `{"A":1,`, "", rpc.InvalidArgument, rpc.ExecutedNo},
		{"empty", "application/json", ``, "", rpc.InvalidArgument, rpc.ExecutedNo},
		{"trailing data", "application/json", `{} {}`, "", rpc.InvalidArgument, rpc.ExecutedNo},
		{"wrong type", "application/json", `{"A":"1"}`, "", rpc.InvalidArgument, rpc.ExecutedNo},
		{"too deep", "application/json", strings.Repeat(`{"A":`, 10_000), "", rpc.InvalidArgument, rpc.ExecutedNo},
		{"text that is no text type", "text/plain", `1`, "", rpc.InvalidArgument, rpc.ExecutedNo},
		{"result without a JSON form", "application/json", `{"A":0,"B":0}`, "", rpc.Internal, rpc.ExecutedYes},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.launch(r.conn, func(s *server.Server) {
					server.Handle(s, double, twice)
					server.Handle(s, ratio, func(_ context.Context, q struct{ A, B float64 }) (float64, error) {
						if q.B == 0 {
							return math.NaN(), nil
						}
						return q.A / q.B, nil
					})
				})
				<-p.Ready()
				reply, err := r.ask(r.request(c.body, func(m *conn.Message) { m.Type, m.ContentType = "ratio", c.contentType }))
				check(t, err, c.code, c.executed)
				if err == nil && (string(reply.Body) != c.want || reply.ContentType != "application/json") {
					t.Errorf("got %+v, want %s", reply, c.want)
				}
				r.mustAnswer()
			})
		})
	}
}
