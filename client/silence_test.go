package client_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// In a new session the broker may drop what a channel takes, without a word. A call that was out goes another way in time.
func TestSilentChannel(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []client.CallOption
	}{
		{"direct", nil},
		{"durable", []client.CallOption{client.Durable()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dropper{}
				r := d.rig(t, client.WithTimeout(8*time.Second))
				r.serve(r.broker.Connector("server"), slow(time.Second))
				r.mustCall(21, tt.opts...)
				d.channels.Store(2)
				time.AfterFunc(500*time.Millisecond, r.conn.Lose)
				r.mustCall(22, tt.opts...)
				if n := d.requests.Load(); n != 0 {
					t.Errorf("%d requests were dropped, want none: only pings", n)
				}
				if d.channels.Load() > 0 {
					t.Error("no channel was silent: the test shows nothing")
				}
			})
		})
	}
}

// A client whose first session is silent gives up one call, not those that come after it.
func TestSilentFromTheStart(t *testing.T) {
	for _, channels := range []int32{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			d := &dropper{}
			d.channels.Store(channels)
			r := d.rig(t, client.WithTimeout(5*time.Second))
			r.serve(r.broker.Connector("server"), twice)
			_, err := r.call(t.Context(), 21)
			check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown, rpc.ErrNoAnswer)
			r.mustCall(21, client.WithTimeout(time.Minute))
		})
	}
}

// It may last for longer than the pings do. That nothing came back of them is no reason to listen no more.
func TestSilentForLong(t *testing.T) {
	for _, channels := range []int32{3, 4, 9} {
		synctest.Test(t, func(t *testing.T) {
			d := &dropper{}
			r := d.rig(t, client.WithTimeout(5*time.Minute))
			r.serve(r.broker.Connector("server"), twice)
			r.mustCall(21)
			d.channels.Store(channels)
			r.conn.Lose()
			start := time.Now()
			r.mustCall(21)
			if took := time.Since(start); channels == 3 && took > 15*time.Second {
				t.Errorf("it took %v, want 14s: pings of 2, 4 and 8 s", took)
			}
			if d.channels.Load() > 0 {
				t.Error("not all channels were silent: the test shows nothing")
			}
		})
	}
}

// However often that happens in one session, the client finds another channel, and leaves no more than a few behind.
func TestSilentOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dropper{}
		r := d.rig(t, client.WithTimeout(10*time.Second))
		r.serve(r.broker.Connector("server"), twice)
		for i := range 40 {
			r.mustCall(21)
			if t.Failed() {
				t.Fatalf("failed after %d times", i)
			}
			d.silence()
			switch i % 10 { // and setting up the next may fail
			case 3:
				d.declares.Store(1)
			case 7:
				d.consumes.Store(1)
			}
			_, err := r.call(t.Context(), 21)
			check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown, rpc.ErrNoAnswer)
		}
		synctest.Wait()
		queues := 0
		for _, q := range r.broker.Queues() {
			if strings.HasPrefix(q.Name, "amq.gen-") {
				queues++
			}
		}
		if open := d.open(); open > 20 || queues > 20 {
			t.Errorf("%d publishers and %d queues are left, want 16 and a few", open, queues)
		}
	})
}

// Servers that do not answer pings are called all the same, a while after the session was lost.
func TestServersWithoutPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dropper{pings: true}
		r := d.rig(t, client.WithTimeout(30*time.Second))
		r.serve(r.broker.Connector("server"), twice)
		r.mustCall(21)
		d.channels.Store(100)
		r.conn.Lose()
		start := time.Now()
		r.mustCall(21)
		if took := time.Since(start); took < 14*time.Second || took > 15*time.Second {
			t.Errorf("it took %v, want 14s: pings of 2, 4 and 8 s", took)
		}
		start = time.Now()
		if r.mustCall(21); time.Since(start) > time.Second {
			t.Errorf("the next call took %v", time.Since(start))
		}
	})
}

// A dropper has channels that drop all they take, or all pings.
type dropper struct {
	conn.Connector
	channels atomic.Int32 // the next so many
	requests atomic.Int32 // dropped
	pings    bool         // only these
	declares atomic.Int32 // the next so many fail
	consumes atomic.Int32 // the same

	mu     sync.Mutex
	opened []*droppingPublisher
}

// rig is one whose client has a dropper.
func (d *dropper) rig(t *testing.T, opts ...client.Option) *rig {
	t.Helper()
	return newRig(t, func(c conn.Connector) conn.Connector {
		d.Connector = c
		return d
	}, opts...)
}

// silence has all channels drop what they take from now on.
func (d *dropper) silence() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.opened {
		p.silent.Store(true)
	}
}

func (d *dropper) Session(ctx context.Context) (conn.Session, error) {
	s, err := d.Connector.Session(ctx)
	return droppingSession{s, d}, err
}

func (d *dropper) open() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.opened {
		if !p.closed.Load() {
			n++
		}
	}
	return n
}

type droppingSession struct {
	conn.Session
	d *dropper
}

func (s droppingSession) DeclareQueue(ctx context.Context, q conn.Queue) (conn.QueueInfo, error) {
	if s.d.declares.Add(-1) >= 0 {
		return conn.QueueInfo{}, context.DeadlineExceeded
	}
	return s.Session.DeclareQueue(ctx, q)
}

func (s droppingSession) Consume(ctx context.Context, c conn.Consume, handle func(*conn.Delivery)) (conn.Consumer, error) {
	if s.d.consumes.Add(-1) >= 0 {
		return nil, context.DeadlineExceeded
	}
	return s.Session.Consume(ctx, c, handle)
}

func (s droppingSession) OpenPublisher(ctx context.Context, onReturn func(*conn.Return)) (conn.Publisher, error) {
	p, err := s.Session.OpenPublisher(ctx, onReturn)
	dropping := &droppingPublisher{Publisher: p, d: s.d}
	dropping.silent.Store(s.d.channels.Add(-1) >= 0)
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.opened = append(s.d.opened, dropping)
	return dropping, err
}

type droppingPublisher struct {
	conn.Publisher
	d      *dropper
	silent atomic.Bool
	closed atomic.Bool
}

func (p *droppingPublisher) Close(ctx context.Context) error {
	p.closed.Store(true)
	return p.Publisher.Close(ctx)
}

func (p *droppingPublisher) Publish(m *conn.Message, confirmed func(bool)) error {
	if !p.silent.Load() {
		return p.Publisher.Publish(m, confirmed)
	}
	isPing := m.Type == wire.Ping
	if !isPing && strings.HasPrefix(m.Exchange, "rabbitrpc.") && !p.d.pings {
		p.d.requests.Add(1)
	}
	if isPing || !p.d.pings {
		return nil
	}
	return p.Publisher.Publish(m, confirmed)
}
