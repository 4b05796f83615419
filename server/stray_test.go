package server_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A split is the connector of a server whose node has lost the others: each knows its own queues only.
type split struct {
	*conntest.Connector
	others []conn.Dialer
}

func (s split) Elsewhere() []conn.Dialer { return append([]conn.Dialer(nil), s.others...) }

// A node is one of the others.
type node struct {
	*conntest.Connector
	dials, published int
	last             conn.Session
}

func (n *node) Dial(ctx context.Context) (conn.Session, error) {
	n.dials++
	s, err := n.Connector.Dial(ctx)
	if err != nil {
		return nil, err
	}
	n.last = s
	return nodeSession{s, n}, nil
}

type nodeSession struct {
	conn.Session
	n *node
}

func (s nodeSession) OpenPublisher(ctx context.Context, onReturn func(*conn.Return)) (conn.Publisher, error) {
	p, err := s.Session.OpenPublisher(ctx, onReturn)
	return nodePublisher{p, s.n}, err
}

var counting sync.Mutex // guards published

type nodePublisher struct {
	conn.Publisher
	n *node
}

func (p nodePublisher) Publish(m *conn.Message, confirmed func(bool)) error {
	counting.Lock()
	p.n.published++
	counting.Unlock()
	return p.Publisher.Publish(m, confirmed)
}

// inSplit has a server with two other nodes, and a caller with the second.
func inSplit(t *testing.T, f func(r *rig, c conn.Connector, far *caller, brokers []*conntest.Broker, nodes []*node)) {
	inBubble(t, func(t *testing.T, r *rig) {
		var nodes []*node
		var brokers []*conntest.Broker
		for range 2 {
			b := conntest.NewBroker()
			t.Cleanup(b.Close)
			brokers = append(brokers, b)
			nodes = append(nodes, &node{Connector: b.Connector("server")})
		}
		far := newCaller(t, brokers[1])
		f(r, split{r.conn, []conn.Dialer{nodes[0], nodes[1]}}, far, brokers, nodes)
	})
}

// sendFor sends a request of a caller that is with another node.
func (r *rig) sendFor(far *caller, body string) {
	r.send(r.request(body, func(m *conn.Message) { m.ReplyTo = far.replyTo }))
}

// A reply whose queue the server's node does not know goes by way of the one that does.
func TestStrayReply(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, nodes []*node) {
		p := r.start(c, twice)
		r.sendFor(far, "1")
		r.sendFor(far, "2")
		if got := summary(far.replies()); got != "[2 4]" {
			t.Errorf("got %s", got)
		}
		r.sendFor(far, "oops")
		if got := far.replies(); len(got) != 1 {
			t.Errorf("got %d errors, want one", len(got))
		}
		if s := p.Stats(); s.Rerouted != 3 || s.Unroutable != 0 || unacked(r) != 0 {
			t.Errorf("%+v, %d unacknowledged", s, unacked(r))
		}
		if nodes[0].dials != 1 || nodes[1].dials != 1 || nodes[1].published != 3 {
			t.Errorf("got %+v, %+v, want a session each", *nodes[0], *nodes[1])
		}
		if n := nodes[0].published; n != 1 && n != 2 { // the second may be there before the first is returned
			t.Errorf("%d published to the node that does not know the queue", n)
		}
		if n := strings.Count(r.log.String(), "does not know a caller's queue"); n != 1 {
			t.Errorf("said %d times, want once: %s", n, r.log)
		}
	})
}

// A caller whose server's node does not know it hears that its request runs, or would send it again.
func TestStrayRunning(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, _ []*node) {
		var runs counter
		p := r.start(c, slow(5*time.Second, &runs))
		r.sendFor(far, "1")
		time.Sleep(6 * time.Second)
		if got := summary(far.replies()); got != "[2]" || len(far.running) != 2 {
			t.Errorf("got %s, and heard %d times that it runs, want twice", got, len(far.running))
		}
		if s := p.Stats(); s.Rerouted != 1 || s.Unroutable != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A node that does not take a reply in time, for whatever reason, is no reason to lose it.
func TestStrayNotTaken(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault conntest.Fault
		after time.Duration
	}{
		{"session lost before", conntest.LoseBeforePublish(1), 0},
		{"session lost after", conntest.LoseAfterPublish(1), 0},
		{"no verdict", conntest.DropConfirm(1), 2 * time.Second},
		{"late verdict", conntest.LateConfirm(1, 11*time.Second), 2 * time.Second},
		{"refused", conntest.RefusePublish(1), 0},
		{"error, and a verdict", conntest.FailPublish(1), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inSplit(t, func(r *rig, s conn.Connector, far *caller, _ []*conntest.Broker, nodes []*node) {
				p := r.start(s, twice)
				struck := nodes[0].Connector.Fail(c.fault)
				r.sendFor(far, "1")
				<-struck
				time.Sleep(c.after)
				if got := summary(far.replies()); got != "[2]" {
					t.Errorf("got %s", got)
				}
				time.Sleep(time.Minute)
				if s := p.Stats(); s.Rerouted != 1 || s.Unroutable != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// A node that takes no messages for a moment is waited for.
func TestStrayAlarm(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, brokers []*conntest.Broker, _ []*node) {
		p := r.start(c, twice)
		brokers[1].Block()
		r.sendFor(far, "1")
		time.Sleep(time.Second)
		brokers[1].Unblock()
		if got := summary(far.replies()); got != "[2]" || p.Stats().Rerouted != 1 {
			t.Errorf("got %s, %+v", got, p.Stats())
		}
	})
}

// The replies of a caller that is gone are given up. Not each of them is tried everywhere.
func TestStrayToNobody(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, nodes []*node) {
		p := r.start(c, twice)
		far.conn.Lose()
		for range 5 {
			r.sendFor(far, "1")
			synctest.Wait()
		}
		if s := p.Stats(); s.Rerouted != 0 || s.Unroutable != 5 || unacked(r) != 0 {
			t.Errorf("%+v, %d unacknowledged", s, unacked(r))
		}
		if nodes[0].published != 1 || nodes[1].published != 1 {
			t.Errorf("published %d and %d, want the first only", nodes[0].published, nodes[1].published)
		}
		if strings.Contains(r.log.String(), "does not know") {
			t.Errorf("said: %s", r.log)
		}
	})
}

// What says that a request of such a caller runs is not counted.
func TestStrayRunningForNobody(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, _ []*node) {
		var runs counter
		p := r.start(c, slow(5*time.Second, &runs))
		far.conn.Lose()
		r.sendFor(far, "1")
		time.Sleep(6 * time.Second)
		if s := p.Stats(); s.Rerouted != 0 || s.Unroutable != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A direct reply-to address is not tried elsewhere: all nodes know it, and none tells whether it was taken.
func TestStrayDirectReply(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, _ *caller, _ []*conntest.Broker, nodes []*node) {
		p := r.start(c, twice, server.WithQueue("rpc_queue", "double"))
		r.send(r.plain("1", func(m *conn.Message) { m.ReplyTo = "amq.rabbitmq.reply-to.gone" }))
		synctest.Wait()
		if s := p.Stats(); s.Unroutable != 0 || nodes[0].dials != 0 {
			t.Errorf("%+v, dialled %d times", s, nodes[0].dials)
		}
	})
}

// A node that is down is passed by, and not dialled for each reply.
func TestStrayNodeDown(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, brokers []*conntest.Broker, nodes []*node) {
		p := r.start(c, twice)
		brokers[0].Stop()
		for range 3 {
			r.sendFor(far, "1")
			synctest.Wait()
		}
		if got := summary(far.replies()); got != "[2 2 2]" || p.Stats().Rerouted != 3 {
			t.Errorf("got %s, %+v", got, p.Stats())
		}
		if nodes[0].dials != 1 {
			t.Errorf("dialled the one that is down %d times", nodes[0].dials)
		}
		time.Sleep(10 * time.Second)
		r.sendFor(far, "1")
		if got := summary(far.replies()); got != "[2]" || nodes[0].dials != 2 {
			t.Errorf("later got %s, with %d dials, want another try", got, nodes[0].dials)
		}
	})
}

// The sessions with other nodes are there as long as there is a need.
func TestStraySessionsEnd(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, brokers []*conntest.Broker, nodes []*node) {
		r.start(c, twice)
		for i, step := range []struct {
			dials, misses int
			pause         time.Duration
		}{
			{1, 1, 6 * time.Second},
			{1, 1, 6 * time.Second},
			{1, 2, 11 * time.Second}, // what was unknown for a while may be known now
			{2, 3, 0},
		} {
			r.sendFor(far, "1")
			if got := summary(far.replies()); got != "[2]" {
				t.Fatalf("got %s", got)
			}
			if n := nodes[1].dials; n != step.dials || nodes[0].published != step.misses {
				t.Errorf("%d: dialled %d times, %d published in vain, want %+v", i, n, nodes[0].published, step)
			}
			time.Sleep(step.pause)
			if ended := nodes[1].last.Err() != nil; ended != (step.pause > 10*time.Second) {
				t.Errorf("%d: after %v the session is over: %v", i, step.pause, ended)
			}
		}
	})
}

// A server that is told to stop still sees to its replies, and to none once it has.
func TestStrayWhileDraining(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, nodes []*node) {
		p := r.start(c, twice, server.WithDrain(time.Minute))
		for _, n := range nodes {
			n.Connector.Freeze()
			time.AfterFunc(time.Second, n.Connector.Thaw)
		}
		for range 8 {
			r.sendFor(far, "1")
		}
		synctest.Wait()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if got := summary(far.replies()); got != "[2 2 2 2 2 2 2 2]" {
			t.Errorf("got %s", got)
		}
		for _, n := range nodes {
			if !errors.Is(n.last.Err(), conn.ErrClosed) {
				t.Errorf("a session was left: %v", n.last.Err())
			}
		}
	})
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, nodes []*node) {
		p := r.start(c, twice)
		struck := nodes[1].Connector.Fail(conntest.DropConfirm(1))
		r.sendFor(far, "1")
		<-struck
		start := time.Now()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		took(t, start, 2*time.Second)
	})
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, nodes []*node) {
		var runs counter
		p := r.start(c, slow(5*time.Second, &runs), server.WithDrain(time.Second))
		r.sendFor(far, "1")
		synctest.Wait()
		if err := p.stop(); err == nil {
			t.Error("the handler has not outlasted the limit: the test shows nothing")
		}
		time.Sleep(5 * time.Second)
		if s := p.Stats(); s.Unroutable != 1 || nodes[0].dials > 1 {
			t.Errorf("%+v, dialled %d times", s, nodes[0].dials)
		}
	})
}

// Nodes that hang do not hold up the end of a server for long, however many they are.
func TestStrayEndsInTime(t *testing.T) {
	inSplit(t, func(r *rig, c conn.Connector, far *caller, _ []*conntest.Broker, _ []*node) {
		var hang []conn.Dialer
		for i := range 4 {
			hang = append(hang, hanging(i))
		}
		p := r.start(split{r.conn, hang}, twice)
		for range 4 {
			r.sendFor(far, "1")
		}
		synctest.Wait()
		start := time.Now()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		took(t, start, 2*time.Second)
		if s := p.Stats(); s.Unroutable != 4 {
			t.Errorf("%+v", s)
		}
	})
}

type hanging int

func (hanging) Dial(ctx context.Context) (conn.Session, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Of more strays than there is room for, the rest is given up, at once.
func TestStrayFlood(t *testing.T) {
	for _, c := range []struct {
		name        string
		calls, kept int
		padding     int // of each reply
	}{
		{"many", 3000, 1024, 0},
		{"large", 40, 16, 4<<20 - 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			inSplit(t, func(r *rig, s conn.Connector, far *caller, _ []*conntest.Broker, nodes []*node) {
				padded := rpc.Method[int, string]{Service: "math", Name: "double"}
				p := r.launch(s, func(s *server.Server) {
					server.Handle(s, padded, func(context.Context, int) (string, error) { return strings.Repeat("x", c.padding), nil })
				}, server.WithWorkers(c.calls), server.WithStore(nil))
				<-p.Ready()
				for _, n := range nodes {
					n.Connector.Freeze()
				}
				for range c.calls {
					r.sendFor(far, "1")
				}
				synctest.Wait()
				if s := p.Stats(); int(s.Unroutable) != c.calls-c.kept || unacked(r) != 0 {
					t.Errorf("%+v, %d unacknowledged, want all but %d given up", s, unacked(r), c.kept)
				}
				for _, n := range nodes {
					n.Connector.Thaw()
				}
				if got := len(far.replies()); got != c.kept || int(p.Stats().Rerouted) != c.kept {
					t.Errorf("%+v, %d replies", p.Stats(), got)
				}
				r.sendFor(far, "1")
				if got := len(far.replies()); got != 1 {
					t.Error("there is no room afterwards")
				}
			})
		})
	}
}
