package conn_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

func probe(t *testing.T, url string) *conn.Probe {
	t.Helper()
	targets, err := conn.Targets(url)
	must(t, err)
	p, err := targets[0].Probe(t.Context())
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// Each question is answered no without the right, yes with just that right, and changes nothing.
func TestProbeAsksForRights(t *testing.T) {
	n := testbroker.Node(t)
	ctx := t.Context()
	users(t, n, "nobody", "configure", "read", "write", "read-write")
	s := session(t, open(t, n.URL()))
	must(t, s.DeclareExchange(ctx, conn.Exchange{Name: "probed", Kind: "topic", Durable: true}))
	_, err := s.DeclareQueue(ctx, conn.Queue{Name: "probed", Durable: true, Args: map[string]any{"x-max-length": int64(7)}})
	must(t, err)
	t.Cleanup(func() { s.DeleteQueue(context.Background(), "probed") })

	for _, tt := range []struct {
		name  string
		needs string
		ask   func(p *conn.Probe, name string) error
	}{
		{"configure a queue", "configure", func(p *conn.Probe, name string) error { return p.MayConfigureQueue(ctx, name) }},
		{"configure an exchange", "configure", func(p *conn.Probe, name string) error { return p.MayConfigureExchange(ctx, name) }},
		{"consume", "read", func(p *conn.Probe, name string) error { return p.MayConsume(ctx, name) }},
		{"bind", "read-write", func(p *conn.Probe, name string) error { return p.MayBind(ctx, name, name, "k") }},
		{"publish", "write", func(p *conn.Probe, name string) error { return p.MayPublish(ctx, name, "k") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, user := range []string{"nobody", "configure", "read", "write", "read-write"} {
				p := probe(t, n.URLFor(user, "secret", "/"))
				for _, name := range []string{"probed", "absent"} {
					err := tt.ask(p, name)
					may := err == nil || name == "absent" && errors.Is(err, conn.ErrNotFound)
					if want := strings.Contains(user, tt.needs); may != want || !may && !errors.Is(err, conn.ErrRefused) {
						t.Errorf("user %s, %s: got %v, want that it may: %v", user, name, err, want)
					}
				}
			}
		})
	}
	p := probe(t, n.URL())
	if err := p.HasExchange(ctx, "absent"); !errors.Is(err, conn.ErrNotFound) {
		t.Errorf("exchange: got %v, want that nobody has made one", err)
	}
	if _, err := s.InspectQueue(ctx, "absent"); !errors.Is(err, conn.ErrNotFound) {
		t.Errorf("queue: got %v, want that nobody has made one", err)
	}
	if info, err := s.InspectQueue(ctx, "probed"); err != nil || info != (conn.QueueInfo{Name: "probed"}) {
		t.Errorf("got %+v, %v, want the queue as it was", info, err)
	}
}

// users makes users that have the rights of their names, for the queues and exchanges probed and absent.
func users(t *testing.T, n *chaos.Node, names ...string) {
	t.Helper()
	var all []string
	for _, name := range names {
		var rights [3]string
		for i, right := range []string{"configure", "write", "read"} {
			if strings.Contains(name, right) {
				rights[i] = "^(probed|absent)$"
			}
		}
		all = append(all, fmt.Sprintf(`rabbit_auth_backend_internal:add_user(<<"%s">>, <<"secret">>, <<"test">>), `+
			`rabbit_auth_backend_internal:set_permissions(<<"%[1]s">>, <<"/">>, <<"%s">>, <<"%s">>, <<"%s">>, <<"test">>)`,
			name, rights[0], rights[1], rights[2]))
	}
	_, err := n.Ctl(t.Context(), "eval", strings.Join(all, ", ")+".")
	must(t, err)
}

func TestProbeOfABroker(t *testing.T) {
	p := probe(t, testbroker.URL(t))
	if b := p.Broker; b.Product != "RabbitMQ" || b.Version == "" || b.Heartbeat != 10*time.Second || b.Channels == 0 || b.Frame == 0 || b.TLS != nil {
		t.Errorf("got %+v", b)
	}
	if d, err := p.RoundTrip(t.Context()); err != nil || d <= 0 || d > time.Second {
		t.Errorf("round trip: %v, %v", d, err)
	}
	if reason, err := p.Blocked(t.Context()); err != nil || reason != "" {
		t.Errorf("blocked: %q, %v, want no alarm", reason, err)
	}
}

func TestProbeSeesAlarm(t *testing.T) {
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("starts a broker for itself: set RABBITRPC_LONG=1")
	}
	n := testbroker.OwnNode(t)
	_, err := n.Ctl(t.Context(), "set_vm_memory_high_watermark", "0.0000001")
	must(t, err)
	for range 20 { // whichever comes first, the alarm or the refusal
		p := probe(t, n.URL())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		reason, err := p.Blocked(ctx)
		cancel()
		if err != nil || !strings.Contains(reason, "memory") {
			t.Fatalf("got %q, %v, want low on memory", reason, err)
		}
	}
}

// A broker that has gone silent holds nobody up.
func TestProbeOfASilentBroker(t *testing.T) {
	x := proxy(t, testbroker.URL(t))
	p := probe(t, x.URL())
	x.Inject(chaos.Stall{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := p.MayConsume(ctx, "q"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that its time is over", err)
	}
	p.Close()
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}
