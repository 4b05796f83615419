package conn_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

const heartbeat = time.Second

// Whoever waits for a broker that has gone silent is freed within two heartbeats: a publish that is stuck in the socket, a
// synchronous method, and Close.
func TestSilentBroker(t *testing.T) {
	tests := []struct {
		name   string
		silent func(t *testing.T) (url string, silence, speak func())
	}{
		{"half-open connection", func(t *testing.T) (string, func(), func()) {
			p := proxy(t, testbroker.URL(t))
			return p.URL(), func() { p.Inject(chaos.Stall{}) }, p.Heal
		}},
		{"frozen broker", func(t *testing.T) (string, func(), func()) {
			n := testbroker.OwnNode(t)
			return n.URL(), func() { must(t, n.Pause()) }, func() { must(t, n.Resume()) }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, silence, speak := tt.silent(t)
			m := open(t, url, conn.WithHeartbeat(heartbeat))
			s := session(t, m)
			p := publisher(t, s)
			silence()
			stuck := after(func() {
				m := &conn.Message{Key: "nobody", Body: make([]byte, 1<<20)}
				for p.Publish(m, nil) == nil { // until the buffers are full, and then until it is freed
				}
			})
			waits := after(func() {
				if _, err := s.InspectQueue(t.Context(), "nobody"); err == nil || errors.Is(err, conn.ErrNotFound) {
					t.Errorf("got %v, want an error of the connection", err)
				}
			})
			within(t, "publish", 2*heartbeat+time.Second/2, stuck)
			within(t, "inspect", 2*heartbeat+time.Second/2, waits)
			within(t, "session", 2*heartbeat+time.Second/2, s.Done())
			speak()
			session(t, m)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCloseOnSilentBroker(t *testing.T) {
	p := proxy(t, testbroker.URL(t))
	m := open(t, p.URL(), conn.WithHeartbeat(heartbeat))
	s := session(t, m)
	pub := publisher(t, s)
	p.Inject(chaos.Stall{})
	stuck := after(func() {
		for pub.Publish(&conn.Message{Key: "nobody", Body: make([]byte, 1<<20)}, nil) == nil {
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	within(t, "close", time.Second, after(func() { m.Close(ctx) }))
	within(t, "publish", time.Second, stuck)
}

// An alarm of the broker stops publishing, and nothing else.
func TestBlockedBroker(t *testing.T) {
	n := testbroker.OwnNode(t)
	m := open(t, n.URL())
	s := session(t, m)
	p := publisher(t, s)
	q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
	must(t, err)
	got := make(chan *conn.Delivery, 16)
	_, err = s.Consume(t.Context(), conn.Consume{Queue: q.Name, Prefetch: 16}, func(d *conn.Delivery) { got <- d })
	must(t, err)
	must(t, p.Publish(&conn.Message{Key: q.Name}, nil))
	before := <-got

	alarm(t, n, "0.0000001")
	blocked := after(func() { // it takes effect on the next publish, or the one after it
		for p.Publish(&conn.Message{Key: q.Name}, nil) == nil {
			time.Sleep(time.Millisecond)
		}
	})
	within(t, "blocked", 5*time.Second, blocked)
	err = p.Publish(&conn.Message{Key: q.Name}, nil)
	if !errors.Is(err, conn.ErrBlocked) || !conn.NotSent(err) {
		t.Errorf("got %v, want blocked, not sent", err)
	}
	unblocked := s.Blocked()
	if unblocked == nil {
		t.Fatal("Blocked says that the broker takes messages")
	}
	must(t, before.Ack())
	if _, err := s.InspectQueue(t.Context(), q.Name); err != nil {
		t.Errorf("inspect while blocked: %v", err)
	}
	alarm(t, n, "0.6")
	within(t, "unblocked", 5*time.Second, unblocked)
	must(t, p.Publish(&conn.Message{Key: q.Name}, nil))

	alarm(t, n, "0.0000001")
	within(t, "blocked again", 5*time.Second, after(func() {
		for s.Blocked() == nil && p.Publish(&conn.Message{Key: q.Name}, nil) == nil {
			time.Sleep(time.Millisecond)
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	within(t, "close while blocked", 2*time.Second, after(func() { m.Close(ctx) }))
}

func alarm(t *testing.T, n *chaos.Node, watermark string) {
	t.Helper()
	_, err := n.Ctl(t.Context(), "set_vm_memory_high_watermark", watermark)
	must(t, err)
}

func TestBrokerRestart(t *testing.T) {
	n := testbroker.OwnNode(t)
	m := open(t, n.URL())
	s := session(t, m)
	must(t, n.Kill())
	within(t, "end of the session", 5*time.Second, s.Done())
	must(t, n.Start(t.Context()))
	if next := session(t, m); next == s {
		t.Error("the dead session was handed out again")
	}
	must(t, n.Stop(t.Context()))
	must(t, n.Start(t.Context()))
	session(t, m)
}

// A broker that ends a consumer leaves channel and connection open: that is noticed, and costs the session.
func TestQueueDeletedUnderConsumer(t *testing.T) {
	m := open(t, testbroker.URL(t))
	s := session(t, m)
	name := "deleted-under-consumer"
	_, err := s.DeclareQueue(t.Context(), conn.Queue{Name: name, Durable: true})
	must(t, err)
	_, err = s.Consume(t.Context(), conn.Consume{Queue: name, Prefetch: 1}, func(*conn.Delivery) {})
	must(t, err)
	must(t, session(t, open(t, testbroker.URL(t))).DeleteQueue(t.Context(), name))
	within(t, "end of the session", 5*time.Second, s.Done())
	if err := s.Err(); !strings.Contains(err.Error(), name) {
		t.Errorf("got the cause %v, want one that names the queue", err)
	}
}

// nested returns a list in a list, depth of them.
func nested(depth int) any {
	var v any = "x"
	for range depth {
		v = []any{v}
	}
	return v
}

// Header names and values of a peer can hold anything: what we send is checked first, since the broker would end the
// connection.
func TestInvalidMessagesNeverLeave(t *testing.T) {
	m := open(t, testbroker.URL(t))
	s := session(t, m)
	p := publisher(t, s)
	long := strings.Repeat("x", 256)
	for name, msg := range map[string]*conn.Message{
		"exchange":         {Exchange: long},
		"routing key":      {Key: long},
		"content type":     {ContentType: long},
		"encoding":         {ContentEncoding: long},
		"correlation id":   {CorrelationID: long},
		"reply-to":         {ReplyTo: long},
		"message id":       {MessageID: long},
		"type":             {Type: long},
		"user id":          {UserID: long},
		"app id":           {AppID: long},
		"header name":      {Headers: map[string]any{long: "x"}},
		"header type":      {Headers: map[string]any{"x": 1}},
		"header list type": {Headers: map[string]any{"x": []any{struct{}{}}}},
		"headers too long": {Headers: map[string]any{"x": strings.Repeat("x", 200_000)}},
		"headers too deep": {Headers: map[string]any{"x": nested(17)}},
		"header too wide":  {Headers: map[string]any{"x": slices.Repeat([]any{""}, 8192)}},
		"CC no list":       {Headers: map[string]any{"CC": "x"}},
		"BCC no list":      {Headers: map[string]any{"BCC": nil}},
		"expiration long":  {Expiration: strings.Repeat("0", 256)},
		"expiration text":  {Expiration: "soon"},
		"expiration sign":  {Expiration: "-1"},
		"expiration years": {Expiration: "315360000001"},
	} {
		err := p.Publish(msg, nil)
		if !errors.Is(err, conn.ErrInvalid) || !conn.NotSent(err) {
			t.Errorf("%s: got %v, want invalid, not sent", name, err)
		}
	}
	done := make(chan struct{})
	must(t, p.Publish(&conn.Message{
		Key: strings.Repeat("k", 255), CorrelationID: strings.Repeat("c", 255), Expiration: "315360000000",
		Headers: map[string]any{"s": strings.Repeat("x", 60_000), "i": int64(1), "b": true, "f": 1.5, "n": nil,
			"t": time.Unix(1, 0), "bytes": []byte("x"), "list": []any{"a", int64(2)}, "deep": nested(16), "CC": []any{"x"}},
	}, func(bool) { close(done) }))
	within(t, "confirm", 5*time.Second, done)
	if err := s.Err(); err != nil {
		t.Errorf("the session died: %v", err)
	}
}

// As many headers as are allowed still fit into the one frame that must hold them.
func TestManyHeadersFitIntoAFrame(t *testing.T) {
	n := testbroker.Node(t)
	frameMax := func(bytes string) {
		_, err := n.Ctl(context.Background(), "eval", "application:set_env(rabbit, frame_max, "+bytes+").")
		must(t, err)
	}
	frameMax("8192")
	s := session(t, open(t, n.URL()))
	frameMax("131072")
	p := publisher(t, s)
	most := &conn.Message{Key: "nobody", Headers: map[string]any{}}
	for i := 0; ; i++ {
		m := &conn.Message{Key: most.Key, Headers: maps.Clone(most.Headers)}
		m.Headers[string(rune(i))] = ""
		if err := p.Publish(m, func(bool) {}); errors.Is(err, conn.ErrInvalid) {
			break
		}
		most = m
	}
	done := make(chan struct{})
	must(t, p.Publish(most, func(bool) { close(done) }))
	within(t, "confirm", 5*time.Second, done)
}

func TestLongNamesNeverLeave(t *testing.T) {
	s := session(t, open(t, testbroker.URL(t)))
	long, ctx := strings.Repeat("x", 256), t.Context()
	for name, do := range map[string]func() error{
		"exchange": func() error { return s.DeclareExchange(ctx, conn.Exchange{Name: long, Kind: "topic"}) },
		"kind":     func() error { return s.DeclareExchange(ctx, conn.Exchange{Name: "x", Kind: long}) },
		"queue":    func() error { _, err := s.DeclareQueue(ctx, conn.Queue{Name: long}); return err },
		"inspect":  func() error { _, err := s.InspectQueue(ctx, long); return err },
		"key":      func() error { return s.BindQueue(ctx, "q", "amq.topic", long) },
		"delete":   func() error { return s.DeleteQueue(ctx, long) },
		"consume": func() error {
			_, err := s.Consume(ctx, conn.Consume{Queue: long, Prefetch: 1}, func(*conn.Delivery) {})
			return err
		},
	} {
		if do() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := s.DeclareQueue(ctx, conn.Queue{Exclusive: true}); err != nil {
		t.Errorf("the session died: %v", err)
	}
}

// A connection that goes silent right after the handshake has no frame yet from which the library counts.
func TestSilentFromTheStart(t *testing.T) {
	p := proxy(t, testbroker.URL(t))
	s, err := open(t, p.URL(), conn.WithHeartbeat(heartbeat)).Dial(t.Context())
	must(t, err)
	p.Inject(chaos.Stall{})
	within(t, "end of the session", 2*heartbeat, s.Done())
}

// What waits for an answer when the session ends learns why that was, and not that the sockets were closed then.
func TestAnswerLostWithTheSession(t *testing.T) {
	p := proxy(t, testbroker.URL(t))
	s, err := open(t, p.URL(), conn.WithHeartbeat(heartbeat)).Dial(t.Context())
	must(t, err)
	p.Inject(chaos.Stall{})
	_, err = s.InspectQueue(t.Context(), "nonesuch")
	if !errors.Is(err, conn.ErrClosed) || strings.Contains(err.Error(), net.ErrClosed.Error()) {
		t.Errorf("got %v, want %v and why", err, conn.ErrClosed)
	}
}

// A watchedConn tells when the handshake is over, and when the library closes it.
type watchedConn struct {
	net.Conn
	opened, closed chan struct{}
	once           sync.Once
}

func (c *watchedConn) SetDeadline(at time.Time) error {
	if at.IsZero() {
		close(c.opened)
	}
	return c.Conn.SetDeadline(at)
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// One connection is lost while the other is still being opened: the library tells those who listen from then on that it
// was closed in good order.
func TestLostWhileOpening(t *testing.T) {
	first := &watchedConn{opened: make(chan struct{}), closed: make(chan struct{})}
	var dials atomic.Int64
	m := open(t, testbroker.URL(t), conn.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		n := dials.Add(1) // 1 and 2 are the manager's own
		if n == 4 {
			<-first.opened
			first.Conn.Close()
			<-first.closed
		}
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil && n == 3 {
			first.Conn = c
			return first, nil
		}
		return c, err
	}))
	s, err := m.Dial(t.Context())
	must(t, err)
	within(t, "end of the session", 5*time.Second, s.Done())
	if err := s.Err(); errors.Is(err, conn.ErrClosed) {
		t.Errorf("got the cause %v, though nobody has closed it", err)
	}
}

// A channel that a consumer has left is there for the next one, though not before its last delivery is settled.
func TestCancelledConsumersLeaveNoChannels(t *testing.T) {
	s := session(t, open(t, testbroker.URL(t)+"/?channel_max=8"))
	p := publisher(t, s)
	q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
	must(t, err)
	for i := range 30 {
		got := make(chan *conn.Delivery, 1)
		c, err := s.Consume(t.Context(), conn.Consume{Queue: q.Name, Prefetch: 1}, func(d *conn.Delivery) { got <- d })
		if err != nil {
			t.Fatalf("consumer %d: %v", i, err)
		}
		must(t, p.Publish(&conn.Message{Key: q.Name}, nil))
		d := <-got
		must(t, c.Cancel(t.Context()))
		if d.Redelivered {
			t.Fatal("the channel was closed before the delivery was acknowledged")
		}
		must(t, d.Ack())
	}
}

// Who stops to wait for a queue that the broker names does not leave it behind.
func TestDeclareAbandoned(t *testing.T) {
	m := open(t, testbroker.URL(t))
	s := session(t, m)
	queues := func() string {
		out, err := testbroker.Node(t).Ctl(t.Context(), "eval", "length(rabbit_amqqueue:list()).")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before, abandoned := queues(), 0
	for i := range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		q, err := s.DeclareQueue(ctx, conn.Queue{Exclusive: true})
		cancel()
		if err != nil {
			abandoned++
			continue
		}
		if err := s.DeleteQueue(t.Context(), q.Name); err != nil {
			t.Fatal(err)
		}
	}
	if abandoned == 0 || abandoned == 300 {
		t.Errorf("%d of 300 were abandoned: the test shows nothing", abandoned)
	}
	for limit := time.Now().Add(10 * time.Second); ; {
		after := queues()
		if after == before {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s queues before, %s after", before, after)
		}
	}
}
