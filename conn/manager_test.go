package conn_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
)

// logs is what a manager has said.
type logs = testlog.Log

var quiet = conn.WithLogger(slog.New(slog.DiscardHandler))

func open(t *testing.T, url string, opts ...conn.Option) *conn.Manager {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := conn.Open(ctx, url, append([]conn.Option{quiet, conn.WithBackoff(time.Millisecond, 100*time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		m.Close(ctx)
	})
	return m
}

func session(t *testing.T, c conn.Connector) conn.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := c.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publisher(t *testing.T, s conn.Session) conn.Publisher {
	t.Helper()
	p, err := s.OpenPublisher(t.Context(), func(*conn.Return) {})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func proxy(t *testing.T, url string) *chaos.Proxy {
	t.Helper()
	p, err := chaos.NewProxy(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// within fails the test unless done is closed in time.
func within(t *testing.T, what string, limit time.Duration, done <-chan struct{}) {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("%s: not within %v", what, limit)
	}
}

// after runs f and returns a channel that is closed when it has returned.
func after(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	return done
}

func TestOpenWaitsForTheBroker(t *testing.T) {
	broker := proxy(t, testbroker.URL(t))
	broker.Inject(chaos.Refuse{})

	// Nobody listens: Open goes on until its context ends, and says why.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := conn.Open(ctx, broker.URL(), quiet, conn.WithBackoff(time.Millisecond, 10*time.Millisecond))
	if !errors.Is(err, conn.ErrNotConnected) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v, want not connected, connection refused", err)
	}

	// Somebody does, later.
	m := open(t, broker.URL(), conn.WithBackgroundDial())
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := m.Session(ctx); !errors.Is(err, conn.ErrNotConnected) {
		t.Errorf("got %v, want not connected", err)
	}
	if s := m.State(); s.Phase != conn.Connecting || s.Err == nil || s.Attempt == 0 {
		t.Errorf("got state %+v, want connecting, with an error and attempts", s)
	}
	broker.Heal()
	session(t, m)
	if s := m.State(); s.Phase != conn.Connected || !strings.Contains(broker.URL(), strings.TrimPrefix(s.Addr, "amqp://")) || s.Err != nil {
		t.Errorf("got state %+v, want connected to %s", s, broker.URL())
	}
}

func TestRefusedIsSaidLoudlyWithoutThePassword(t *testing.T) {
	u, err := url.Parse(testbroker.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	wrongPassword, wrongVhost := *u, *u
	wrongPassword.User = url.UserPassword("guest", "s3cret")
	wrongVhost.User, wrongVhost.Path = url.UserPassword("guest", "guest"), "/nowhere"
	for _, tt := range []struct {
		name, url string
		wait      time.Duration // the broker takes its time to refuse a password
	}{
		{"password", wrongPassword.String(), 5 * time.Second},
		{"virtual host", wrongVhost.String(), time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var said logs
			log := slog.New(slog.NewTextHandler(&said, nil))
			ctx, cancel := context.WithTimeout(t.Context(), tt.wait)
			defer cancel()
			_, err := conn.Open(ctx, tt.url, conn.WithLogger(log), conn.WithBackoff(time.Millisecond, 10*time.Millisecond))
			if !errors.Is(err, conn.ErrRefused) {
				t.Errorf("got %v, want refused", err)
			}
			if !strings.Contains(said.String(), "level=ERROR") {
				t.Errorf("no error in the log:\n%s", said.String())
			}
			if n := strings.Count(said.String(), "level="); n > 2 {
				t.Errorf("%d dials in %v: after a refusal more will not help", n, tt.wait)
			}
			if strings.Contains(said.String()+err.Error(), "s3cret") {
				t.Error("the password is shown")
			}
		})
	}
}

func TestSecondURLServesWhenTheFirstIsDead(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := dead.Addr().String()
	dead.Close()
	for range 5 { // the order is random
		m := open(t, "amqp://"+addr+","+testbroker.URL(t), conn.WithBackoff(time.Minute, time.Minute))
		session(t, m)
	}
}

// Elsewhere is each address but the one of the live session.
func TestElsewhere(t *testing.T) {
	first, second := proxy(t, testbroker.URL(t)), proxy(t, testbroker.URL(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "amqp://" + l.Addr().String()
	l.Close()
	m := open(t, strings.Join([]string{first.URL(), second.URL(), dead}, ","))
	session(t, m)
	live := m.State().Addr
	others := m.Elsewhere()
	if len(others) != 2 || others[0] == others[1] || others[0] != m.Elsewhere()[0] {
		t.Fatalf("got %v of three, want two, and the same each time", others)
	}
	s, err := others[0].Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := second
	if strings.Contains(second.URL(), strings.TrimPrefix(live, "amqp://")) {
		other = first
	}
	other.Close()
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Error("the session is not with the other address")
	}
	if _, err := others[1].Dial(t.Context()); !errors.Is(err, conn.ErrNotConnected) || !strings.Contains(err.Error(), dead) {
		t.Errorf("the dead address: got %v", err)
	}
	if one := open(t, testbroker.URL(t)).Elsewhere(); len(one) != 0 {
		t.Errorf("got %v of one address", one)
	}
}

// The parameter of the URL that bounds a dial.
func TestConnectionTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	must(t, err)
	defer l.Close()
	m := open(t, "amqp://"+l.Addr().String()+"/?connection_timeout=100", conn.WithBackgroundDial())
	start := time.Now()
	for s := range m.Watch(t.Context()) {
		if s.Err != nil {
			break
		}
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("the dial took %v, want about 100ms", d)
	}
}

// A peer that takes the connection and never says anything, or says something else, must not hold up a dial. The broker is
// used as soon as it is back in its place.
func TestStrangePeers(t *testing.T) {
	for _, peer := range []chaos.Impostor{{}, {Says: chaos.HTTP}, {Says: chaos.HTTP, Closes: true}, {Closes: true}} {
		t.Run(peer.String(), func(t *testing.T) {
			t.Parallel()
			p := proxy(t, testbroker.URL(t))
			strange := p.Inject(peer)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			within(t, "open", 3*time.Second, after(func() {
				m, err := conn.Open(ctx, p.URL(), quiet)
				if !errors.Is(err, conn.ErrNotConnected) {
					t.Errorf("got %v, want not connected", err)
				}
				if errors.Is(err, conn.ErrRefused) {
					t.Errorf("got %v, which blames the credentials", err)
				}
				if m != nil {
					t.Error("got a manager with the error")
				}
			}))
			if strange.Bites() == 0 {
				t.Errorf("%v", strange)
			}
			p.Heal()
			session(t, open(t, p.URL()))
		})
	}
}

// A connection that is cut at any byte of its handshake is dialled again.
func TestHandshakeCut(t *testing.T) {
	p := proxy(t, testbroker.URL(t))
	for _, dir := range []chaos.Direction{chaos.ToBroker, chaos.ToClient} {
		cuts := 0
		for at := 0; ; at += 41 {
			cut := p.Inject(chaos.Cut{Bytes: at, Nth: 1, Dir: dir})
			m := open(t, p.URL())
			session(t, m)
			cut.Heal()
			m.Close(t.Context())
			if cut.Bites() == 0 {
				break // the handshake has no such byte
			}
			cuts++
		}
		if cuts < 5 {
			t.Errorf("%v: %d cuts", dir, cuts)
		}
	}
}

func TestWatch(t *testing.T) {
	p := proxy(t, testbroker.URL(t))
	m := open(t, p.URL())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	states := m.Watch(ctx)
	if s := <-states; s.Phase != conn.Connected {
		t.Errorf("got %v, want connected", s.Phase)
	}
	first := session(t, m)
	p.Inject(chaos.Reset{})
	within(t, "end of the session", 5*time.Second, first.Done())
	if first.Err() == nil {
		t.Error("the session ended without a cause")
	}
	seen := map[conn.Phase]bool{}
	for s := range states {
		seen[s.Phase] = true
		if s.Phase == conn.Connected {
			break
		}
		if s.Err == nil {
			t.Errorf("got %+v, want the reason", s)
		}
	}
	if second := session(t, m); second == first {
		t.Error("the dead session was handed out again")
	}
	m.Close(t.Context())
	for s := range states {
		if seen[s.Phase] = true; s.Phase == conn.Closed {
			break
		}
	}
	if !seen[conn.Closed] {
		t.Error("closing was not announced")
	}
	cancel()
	for range states { // ends, or the test does not
	}
	if _, err := m.Session(t.Context()); !errors.Is(err, conn.ErrNotConnected) {
		t.Errorf("after Close: got %v, want not connected", err)
	}
}
