package tracing_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/tracing"
)

// Both sides get an interceptor, and the client hooks. Without WithTracerProvider spans go to the global provider.
func Example() {
	spans := tracetest.NewInMemoryExporter()
	to := tracing.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSyncer(spans)))
	ctx, cancel := context.WithCancel(context.Background())
	broker := conntest.NewBroker()
	defer broker.Close()

	s, err := server.New(broker.Connector("server"), "math",
		server.WithInterceptors(tracing.Server(to)), server.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	double := rpc.Method[int, int]{Service: "math", Name: "double"}
	server.Handle(s, double, func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer running.Wait()
	defer cancel()
	<-s.Ready()

	c, err := client.New(broker.Connector("client"), client.WithInterceptors(tracing.Client(to)), client.WithHooks(tracing.Hooks()))
	if err != nil {
		panic(err)
	}
	defer c.Close(ctx)
	client.Call(ctx, c, double, 21)

	got := spans.GetSpans()
	for _, s := range got {
		fmt.Println(s.SpanKind, s.Name)
	}
	fmt.Println("child:", got[0].Parent.SpanID() == got[1].SpanContext.SpanID())
	// Output:
	// server math/double
	// client math/double
	// child: true
}
