package conn_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// What a manager is to do in time it does in time, whoever reads the credentials never ends.
func TestCredentialsNeverRead(t *testing.T) {
	url := testbroker.URL(t)
	release := make(chan struct{})
	defer close(release)
	var mu sync.Mutex // guards reading
	reading := 0
	never := conn.WithCredentials(func() (string, string, error) {
		mu.Lock()
		reading++
		mu.Unlock()
		<-release
		return "", "", nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	within(t, "end of Open", 2*time.Second, after(func() {
		if _, err := conn.Open(ctx, url, quiet, never); !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("open: got %v, want not connected", err)
		}
	}))
	m, err := conn.Open(t.Context(), url, quiet, never, conn.WithBackgroundDial())
	must(t, err)
	within(t, "end of dials", 2*time.Second, after(func() {
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, err := m.Dial(ctx); !errors.Is(err, conn.ErrNotConnected) || !strings.Contains(err.Error(), "read the credentials") {
				t.Errorf("dial: got %v, want not connected, and why", err)
			}
			cancel()
		}
	}))
	within(t, "end of Close", 2*time.Second, after(func() { must(t, m.Close(t.Context())) }))
	mu.Lock()
	defer mu.Unlock()
	if reading > 2 {
		t.Errorf("the credentials are being read %d times at once, want once for each manager", reading)
	}
}

// A manager that is closed dials no more, for whom and to where ever.
func TestDialAfterClose(t *testing.T) {
	url := testbroker.URL(t)
	m, err := conn.Open(t.Context(), url+","+proxy(t, url).URL(), quiet)
	must(t, err)
	dialers := append(m.Elsewhere(), m)
	must(t, m.Close(t.Context()))
	for _, d := range dialers {
		s, err := d.Dial(t.Context())
		if !errors.Is(err, conn.ErrNotConnected) || !strings.Contains(err.Error(), "closed") {
			t.Errorf("dial: got %v, want that the manager is closed", err)
		}
		if s != nil {
			must(t, s.Close(t.Context()))
		}
	}
}

// Close ends the dials that others wait for.
func TestCloseDuringDial(t *testing.T) {
	p := proxy(t, testbroker.URL(t))
	m := open(t, p.URL())
	defer p.Inject(chaos.Stall{}).Heal()
	dialed := after(func() {
		if s, err := m.Dial(t.Context()); !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("dial: got %v, %v, want not connected", s, err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	m.Close(ctx)
	within(t, "end of the dial", time.Second, dialed)
}

// A hook may close its manager: Close returns in time, and the manager stays closed.
func TestCloseInHook(t *testing.T) {
	for name, hooks := range map[string]func(shut func()) conn.Hooks{
		"connected":   func(shut func()) conn.Hooks { return conn.Hooks{Connected: func(time.Duration) { shut() }} },
		"lost":        func(shut func()) conn.Hooks { return conn.Hooks{Lost: func(error, time.Duration) { shut() }} },
		"dial failed": func(shut func()) conn.Hooks { return conn.Hooks{DialFailed: func(error) { shut() }} },
	} {
		t.Run(name, func(t *testing.T) {
			p := proxy(t, testbroker.URL(t))
			opened, closed := make(chan *conn.Manager, 1), make(chan struct{})
			shut := sync.OnceFunc(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				defer cancel()
				(<-opened).Close(ctx)
				close(closed)
			})
			m, err := conn.Open(t.Context(), p.URL(), quiet, conn.WithHooks(hooks(shut)), conn.WithBackgroundDial())
			must(t, err)
			opened <- m
			if name != "connected" {
				session(t, m)
				p.Inject(chaos.Refuse{})
				p.Inject(chaos.Reset{})
			}
			within(t, "end of Close", 3*time.Second, closed)
			p.Heal()
			within(t, "end of the manager", 3*time.Second, m.Ended())
			if got := m.State(); got.Phase != conn.Closed {
				t.Fatalf("got %+v, want closed", got)
			}
			if _, err := m.Session(t.Context()); !errors.Is(err, conn.ErrNotConnected) {
				t.Errorf("session: got %v, want not connected", err)
			}
			within(t, "end of another Close", time.Second, after(func() { must(t, m.Close(t.Context())) }))
		})
	}
}

// What can never work is said at once.
func TestNoLogger(t *testing.T) {
	m, err := conn.Open(t.Context(), testbroker.URL(t), conn.WithLogger(nil))
	if err == nil {
		m.Close(t.Context())
		t.Error("no error")
	}
}
