package metrics_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/metrics"
)

// A server and a client are given hooks, and watched. What a program registers, promhttp shows.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	broker := conntest.NewBroker()
	defer broker.Close()
	calls, requests := metrics.NewClient(), metrics.NewServer()
	registry := prometheus.NewRegistry()
	registry.MustRegister(calls, requests)

	s, err := server.New(broker.Connector("server"), "math",
		server.WithHooks(requests.Hooks()), server.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	requests.Watch(s)
	double := rpc.Method[int, int]{Service: "math", Name: "double"}
	server.Handle(s, double, func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer running.Wait()
	defer cancel()
	<-s.Ready()

	c, err := client.New(broker.Connector("client"), client.WithHooks(calls.Hooks()))
	if err != nil {
		panic(err)
	}
	defer c.Close(ctx)
	calls.Watch(c)
	for n := range 3 {
		client.Call(ctx, c, double, n)
	}
	all, err := testutil.CollectAndFormat(requests, expfmt.TypeTextPlain, "rabbitrpc_server_requests_total")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Printf("%s", all)
	// Output:
	// # HELP rabbitrpc_server_requests_total Requests that were answered, by the code of the answer.
	// # TYPE rabbitrpc_server_requests_total counter
	// rabbitrpc_server_requests_total{code="ok",method="double",service="math"} 3
}
