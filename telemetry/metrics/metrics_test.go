package metrics_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/telemetry/metrics"
)

// What hooks count and what clients and servers count themselves are the same calls.
func TestCountersAreThoseOfStats(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.live(t)
		c, s := r.client.Stats(), r.server.Stats()
		check(t, r, float64(c.Calls), "rabbitrpc_client_calls_total")
		check(t, r, float64(c.OK), "rabbitrpc_client_calls_total", "code", "ok")
		check(t, r, float64(c.Calls), "rabbitrpc_client_call_duration_seconds")
		check(t, r, float64(c.Late), "rabbitrpc_client_late_replies_total")
		check(t, r, float64(s.Answered+s.Failed+s.Rejected), "rabbitrpc_server_requests_total", "service", "math")
		check(t, r, float64(s.Answered), "rabbitrpc_server_requests_total", "code", "ok")
		check(t, r, float64(s.Answered+s.Failed+s.Rejected), "rabbitrpc_server_wait_seconds")
		check(t, r, float64(s.Received), "rabbitrpc_server_received_total")
		for name, want := range map[string]float64{
			"rabbitrpc_server_handler_duration_seconds": 7, // not for the replay, nor without a method
			"rabbitrpc_server_replayed_total":           1,
			"rabbitrpc_server_rejected_total":           1,
			"rabbitrpc_server_panics_total":             1,
			"rabbitrpc_server_overdue_total":            1,
			"rabbitrpc_client_calls_ambiguous_total":    2, // the one that was overdue, and the first after the server was gone
			"rabbitrpc_client_bounced_total":            1,
			"rabbitrpc_client_sessions_total":           1,
			"rabbitrpc_client_in_flight":                0,
			"rabbitrpc_server_running":                  0,
			"rabbitrpc_server_serving":                  0,
			"rabbitrpc_server_workers":                  4,
			"rabbitrpc_dedupe_entries":                  6, // of the method do, the refused one excepted
			"rabbitrpc_build_info":                      1,
		} {
			check(t, r, want, name)
		}
		check(t, r, 1, "rabbitrpc_server_requests_total", "method", "_other", "code", "unimplemented")
		check(t, r, 1, "rabbitrpc_client_breaker_state", "service", "math", "state", "open")
		check(t, r, 1, "rabbitrpc_client_breaker_changes_total", "service", "math", "to", "open")
		check(t, r, 1, "rabbitrpc_client_presence", "service", "math", "presence", "absent")
		check(t, r, 4, "rabbitrpc_client_attempts_total", "mode", "direct", "ending", "replied")
		check(t, r, 4, "rabbitrpc_client_attempts_total", "mode", "direct", "ending", "failed")
	})
}

func TestStatesWhileServing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		check(t, r, 1, "rabbitrpc_server_serving", "service", "math")
		go r.call("math", "do", "sleep")
		time.Sleep(50 * time.Millisecond)
		check(t, r, 1, "rabbitrpc_server_running")
		check(t, r, 1, "rabbitrpc_client_in_flight")
		check(t, r, 10_000, "rabbitrpc_client_in_flight_limit")
		stopped := make(chan struct{})
		go func() { r.stop(); close(stopped) }()
		synctest.Wait()
		check(t, r, 0, "rabbitrpc_server_serving")
		check(t, r, 1, "rabbitrpc_server_draining")
		<-stopped
		check(t, r, 0, "rabbitrpc_server_draining")
	})
}

// What takes the place of a server is counted in its place.
func TestServersComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		served := metrics.NewServer()
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(served)
		stop := served.Watch(r.server)
		other := served.Watch(r.server)
		check(t, reg, 2, "rabbitrpc_server_serving", "service", "math")
		stop()
		stop()
		check(t, reg, 1, "rabbitrpc_server_serving", "service", "math")
		other()
		if n := testutil.CollectAndCount(served, "rabbitrpc_server_serving"); n != 0 {
			t.Errorf("%d servers are shown, want none", n)
		}
	})
}

// TestLabelsAreBounded makes calls as a stranger at a gateway could: no name of his may be in a label.
func TestLabelsAreBounded(t *testing.T) {
	count := func(t *testing.T, r *rig) (n int) {
		all, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() != "rabbitrpc_client_attempts_total" { // whose labels are ours, all of them
				n += len(f.GetMetric())
			}
		}
		return n
	}
	inBubble(t, func(t *testing.T, r *rig) {
		hostile := func(from, to int) {
			for i := from; i < to; i++ {
				for _, err := range []error{
					r.call(fmt.Sprint("hostile-", i), "do", ""),
					r.call("math", fmt.Sprint("hostile-", i), ""),
					r.call(fmt.Sprint("host\x00ile-", i), "\n", ""),
				} {
					if err == nil {
						t.Error("a hostile call was answered")
					}
				}
			}
		}
		if err := r.call("math", "do", ""); err != nil {
			t.Fatal(err)
		}
		hostile(0, 30)
		before := count(t, r)
		hostile(30, 300)
		if after := count(t, r); after != before {
			t.Errorf("%d time series became %d", before, after)
		}
		check(t, r, 600, "rabbitrpc_client_calls_total", "service", "_other", "method", "_other")
		check(t, r, 300, "rabbitrpc_client_calls_total", "service", "math", "method", "_other")
		check(t, r, 300, "rabbitrpc_server_requests_total", "service", "math", "method", "_other")
		check(t, r, 1, "rabbitrpc_client_calls_total", "service", "math", "method", "do")
	})
}

// A server of a plain queue answers whatever it is asked.
func TestLabelsAreBoundedWhereAllIsAnswered(t *testing.T) {
	c := metrics.NewClient()
	ended := c.Hooks().CallEnded
	for i := range 5000 {
		ended(t.Context(), client.CallEnded{Request: &rpc.Request{Method: fmt.Sprint(i)}, Reply: &rpc.Reply{}})
	}
	if n := testutil.CollectAndCount(c, "rabbitrpc_client_calls_total"); n > 1001 {
		t.Errorf("%d time series, want at most 1001", n)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	check(t, reg, 5000, "rabbitrpc_client_calls_total")
}

// TestVouchers is the table of what gives a name labels of its own.
func TestVouchers(t *testing.T) {
	local := rpc.Errorf(rpc.Unavailable, "nobody").WithExecuted(rpc.ExecutedNo)
	remote := func(x rpc.Execution) error {
		e := rpc.Errorf(rpc.NotFound, "nothing").WithExecuted(x)
		e.Remote = true
		return e
	}
	for _, tt := range []struct {
		name string
		do   func(c *metrics.Client)
		err  error
		want []string // service and method
	}{
		{"replied", nil, nil, []string{"s", "m"}},
		{"failed in the handler", nil, remote(rpc.ExecutedYes), []string{"s", "m"}},
		{"refused by the server", nil, remote(rpc.ExecutedNo), []string{"s", "_other"}},
		{"nobody there", nil, local, []string{"_other", "_other"}},
		{"nobody there, but a queue", func(c *metrics.Client) { c.Hooks().Presence("rabbitrpc.s", "absent") }, local, []string{"s", "_other"}},
		{"no queue", func(c *metrics.Client) { c.Hooks().Presence("rabbitrpc.s", "missing") }, local, []string{"_other", "_other"}},
		{"a known service", func(c *metrics.Client) { c.Know("s") }, local, []string{"s", "_other"}},
		{"a known method", func(c *metrics.Client) { c.Know("s", "m") }, local, []string{"s", "m"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := metrics.NewClient()
			if tt.do != nil {
				tt.do(c)
			}
			c.Hooks().CallEnded(t.Context(), client.CallEnded{Request: &rpc.Request{Service: "s", Method: "m"}, Err: tt.err})
			reg := prometheus.NewPedanticRegistry()
			reg.MustRegister(c)
			check(t, reg, 1, "rabbitrpc_client_calls_total", "service", tt.want[0], "method", tt.want[1])
		})
	}
}

// A code that this version does not know is no reason for a time series.
func TestUnknownCode(t *testing.T) {
	c := metrics.NewClient()
	c.Hooks().CallEnded(t.Context(), client.CallEnded{Request: &rpc.Request{}, Err: rpc.Errorf(200, "from the future")})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	check(t, reg, 1, "rabbitrpc_client_calls_total", "code", "unknown")
}

func TestConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "amqp://" + l.Addr().String()
	l.Close() // nobody listens
	c := metrics.NewConnections()
	failed := make(chan struct{}, 1)
	hooks := c.Hooks("main")
	count := hooks.DialFailed
	hooks.DialFailed = func(err error) {
		count(err)
		select {
		case failed <- struct{}{}:
		default:
		}
	}
	m, err := conn.Open(t.Context(), url, conn.WithBackgroundDial(), conn.WithLogger(quiet), conn.WithHooks(hooks))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	c.Watch("main", m)
	<-failed
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	check(t, reg, 0, "rabbitrpc_connection_up", "connection", "main")
	if got := value(t, reg, "rabbitrpc_connection_dial_failures_total", "connection", "main"); got < 1 {
		t.Errorf("got %v failed dials, want one or more", got)
	}
	hooks.Connected(time.Second)
	hooks.Lost(nil, time.Second)
	check(t, reg, 1, "rabbitrpc_connection_sessions_total")
	check(t, reg, 1, "rabbitrpc_connection_sessions_lost_total")
	check(t, reg, 1, "rabbitrpc_connection_reconnect_seconds")
}

// Histograms are native for those who scrape them so, and classic for all others.
func TestHistogramsAreOfBothKinds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if err := r.call("math", "do", "sleep"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"rabbitrpc_client_call_duration_seconds", "rabbitrpc_server_handler_duration_seconds"} {
			for _, m := range family(t, r, name) {
				if h := m.GetHistogram(); h.GetSampleCount() > 0 && (len(h.GetBucket()) == 0 || len(h.GetPositiveSpan()) == 0) {
					t.Errorf("%s has %d classic buckets and %d native spans", name, len(h.GetBucket()), len(h.GetPositiveSpan()))
				}
			}
		}
	})
}

func TestLint(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := metrics.NewConnections()
		c.Hooks("main")
		r.MustRegister(c)
		r.live(t)
		problems, err := testutil.GatherAndLint(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	})
}
