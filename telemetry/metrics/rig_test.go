package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/metrics"
)

var quiet = slog.New(slog.DiscardHandler)

// A rig is a client and a server of the service math, both measured, in a bubble of virtual time.
type rig struct {
	*prometheus.Registry
	broker *conntest.Broker
	client *client.Client
	server *server.Server
	calls  *metrics.Client
	stop   func() // ends the server
}

func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{Registry: prometheus.NewPedanticRegistry(), broker: conntest.NewBroker(), calls: metrics.NewClient()}
		t.Cleanup(r.broker.Close)
		served := metrics.NewServer()
		r.MustRegister(r.calls, served, metrics.BuildInfo())
		r.server = newServer(t, r.broker.Connector("server"), server.WithHooks(served.Hooks()))
		served.Watch(r.server)
		r.stop = run(t, r.server)
		var err error
		r.client, err = client.New(r.broker.Connector("client"), client.WithHooks(r.calls.Hooks()), client.WithTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		r.calls.Watch(r.client)
		t.Cleanup(func() { r.client.Close(context.Background()) })
		f(t, r)
		r.stop()
	})
}

// newServer makes a server whose method do does what its request says.
func newServer(t testing.TB, c conn.Connector, opts ...server.Option) *server.Server {
	t.Helper()
	s, err := server.New(c, "math", append(opts, server.WithLogger(quiet), server.WithWorkers(4))...)
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("do", func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
		switch string(r.Body) {
		case "sleep":
			time.Sleep(100 * time.Millisecond)
		case "fail":
			return nil, rpc.Errorf(rpc.NotFound, "nothing there")
		case "refuse":
			return nil, rpc.Errorf(rpc.FailedPrecondition, "not now").WithExecuted(rpc.ExecutedNo)
		case "panic":
			panic("on order")
		case "overdue":
			time.Sleep(10 * time.Second)
		}
		return &rpc.Reply{}, nil
	})
	s.Handle("quiet", func(context.Context, *rpc.Request) (*rpc.Reply, error) { return nil, errors.New("never called") })
	return s
}

func run(t testing.TB, s *server.Server) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
	return func() { cancel(); running.Wait() }
}

func (r *rig) call(service, method, body string, opts ...client.CallOption) error {
	_, err := r.client.Do(client.With(context.Background(), opts...), &rpc.Request{Service: service, Method: method, Body: []byte(body)})
	return err
}

// live does all that there is a metric for.
func (r *rig) live(t *testing.T) {
	t.Helper()
	for body, want := range map[string]rpc.Code{
		"": rpc.OK, "sleep": rpc.OK, "fail": rpc.NotFound, "refuse": rpc.FailedPrecondition, "panic": rpc.Internal,
		"overdue": rpc.DeadlineExceeded,
	} {
		if err := r.call("math", "do", body); rpc.CodeOf(err) != want {
			t.Errorf("%s: got %v, want %v", body, err, want)
		}
	}
	if err := r.call("math", "none", ""); rpc.CodeOf(err) != rpc.Unimplemented {
		t.Errorf("got %v, want unimplemented", err)
	}
	for range 2 { // the second is a replay
		if err := r.call("math", "do", "again", client.WithCallID("again")); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Minute) // handlers end
	r.stop()
	for range 30 { // opens the breaker
		if err := r.call("math", "do", ""); rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("got %v, want unavailable", err)
		}
	}
	synctest.Wait()
}

// family returns the metrics of a name.
func family(t *testing.T, g prometheus.Gatherer, name string) []*dto.Metric {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}

// value returns the sum of the metrics of a name that have the given labels, name and value in turns: of histograms, how
// many values were observed.
func value(t *testing.T, g prometheus.Gatherer, name string, labels ...string) (sum float64) {
	t.Helper()
	for _, m := range family(t, g, name) {
		if matches(m, labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func matches(m *dto.Metric, labels []string) bool {
	have := make(map[string]string)
	for _, l := range m.GetLabel() {
		have[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(labels); i += 2 {
		if have[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// check compares values with what is wanted.
func check(t *testing.T, g prometheus.Gatherer, want float64, name string, labels ...string) {
	t.Helper()
	if got := value(t, g, name, labels...); got != want {
		t.Errorf("%s: got %v, want %v", fmt.Sprint(name, labels), got, want)
	}
}
