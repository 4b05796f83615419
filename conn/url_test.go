package conn

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestParseURLs(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string // what may be shown
	}{
		{"one", "amqp://guest:guest@localhost:5672/", []string{"amqp://localhost:5672"}},
		{"no slash", "amqp://guest:guest@localhost", []string{"amqp://localhost:5672"}},
		{"TLS", "amqps://localhost", []string{"amqps://localhost:5671"}},
		{"virtual host", "amqp://localhost/a%2Fb", []string{"amqp://localhost:5672/a%2Fb"}},
		{"IPv6", "amqp://[::1]:5673/", []string{"amqp://[::1]:5673"}},
		{"cluster", "amqp://a, amqp://b:1,amqps://c/v", []string{"amqp://a:5672", "amqp://b:1", "amqps://c:5671/v"}},
		{"comma in password", "amqp://u:a,b@h1,amqp://u:a,b@h2", []string{"amqp://h1:5672", "amqp://h2:5672"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			endpoints, err := parseURLs(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range endpoints {
				got = append(got, e.String())
			}
			if strings.Join(got, " ") != strings.Join(tt.want, " ") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBadURLShowsNoPassword(t *testing.T) {
	for _, in := range []string{
		"", "localhost:5672", "http://guest:s3cret@localhost", "amqp://guest:s3cret@local host", "amqp://guest:s3cret%@localhost",
		"amqp://guest:s3cret@localhost:5672x", "amqp://guest:s3cret/x@localhost", "amqp://guest:s3cret@localhost:99999999999999",
		"amqp://a,amqp://guest:s3cret%zz@b", "amqp://guest:s3cret@localhost?heartbeat=s3cret", "amqp://guest:s3cret@localhost:99999", "amqp://guest:s3cret@localhost?heartbeats=1",
		"amqp://guest:s3cret@localhost:0", "amqp://guest:s3cret@localhost?connection_timeout=-1", "amqp://guest:s3cret#x@localhost:y",
	} {
		_, err := Open(context.Background(), in)
		if err == nil {
			t.Errorf("Open(%q): no error", in)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error shows the password: %v", err)
		}
	}
}

func TestDefaultURL(t *testing.T) {
	for _, tt := range []struct{ rabbitmq, amqp, want string }{
		{"amqp://a", "amqp://b", "amqp://a"},
		{"", "amqp://b", "amqp://b"},
		{"", "", "amqp://guest:guest@localhost:5672/"},
	} {
		t.Setenv("RABBITMQ_URL", tt.rabbitmq)
		t.Setenv("AMQP_URL", tt.amqp)
		if got := DefaultURL(); got != tt.want {
			t.Errorf("RABBITMQ_URL=%q AMQP_URL=%q: got %q, want %q", tt.rabbitmq, tt.amqp, got, tt.want)
		}
	}
}

func TestOptionsOutOfRange(t *testing.T) {
	for name, opt := range map[string]Option{
		"heartbeat too short":   WithHeartbeat(time.Millisecond),
		"heartbeat too long":    WithHeartbeat(time.Hour),
		"heartbeat not whole":   WithHeartbeat(1500 * time.Millisecond),
		"backoff zero":          WithBackoff(0, time.Second),
		"backoff upside down":   WithBackoff(time.Second, time.Millisecond),
		"name longer than fits": WithName(strings.Repeat("x", 201)),
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := Open(t.Context(), "amqp://localhost:1", opt, WithBackgroundDial(), WithLogger(slog.New(slog.DiscardHandler))); err == nil {
				m.Close(t.Context())
				t.Error("no error")
			}
		})
	}
}

func TestBackoffIsFullJitter(t *testing.T) {
	const lo, hi = 100 * time.Millisecond, 15 * time.Second
	b := newBackoff(lo, hi)
	limit := lo
	var most time.Duration
	for range 2000 {
		d := b.NextBackOff()
		if d < 0 || d > limit+time.Millisecond {
			t.Fatalf("got a wait of %v, want 0 to %v", d, limit)
		}
		most = max(most, d)
		limit = min(2*limit, hi)
	}
	if most < hi*9/10 {
		t.Errorf("the longest of 2000 waits was %v, want nearly %v", most, hi)
	}
}

func TestCheckURL(t *testing.T) {
	if err := CheckURL("amqp://a,amqps://b"); err != nil {
		t.Errorf("two URLs: %v", err)
	}
	if err := CheckURL("amqp://a,amqp://guest:s3cret@b:port"); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v, want an error without the password", err)
	}
}
