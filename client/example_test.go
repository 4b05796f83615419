package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Fib is shared by both sides.
var Fib = rpc.Method[int, uint64]{Service: "math", Name: "fib"}

func fib(_ context.Context, n int) (uint64, error) {
	if n < 0 || n > 93 {
		return 0, rpc.Errorf(rpc.InvalidArgument, "n must be 0 to 93, got %d", n)
	}
	var a, b uint64 = 0, 1
	for range n {
		a, b = b, a+b
	}
	return a, nil
}

// startMath starts a server for Fib, and returns when it takes calls.
func startMath(b *conntest.Broker) (stop func()) {
	s, err := server.New(b.Connector("math"), "math", server.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	server.Handle(s, Fib, fib)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- s.Run(ctx) }()
	<-s.Ready()
	return func() { cancel(); <-stopped }
}

func ExampleCall() {
	ctx := context.Background()
	broker := conntest.NewBroker() // in a program: conn.Open(ctx, "amqp://localhost")
	defer broker.Close()
	defer startMath(broker)()

	c, err := client.New(broker.Connector("client"), client.WithTimeout(5*time.Second))
	if err != nil {
		panic(err)
	}
	defer c.Close(ctx)

	fmt.Println(client.Call(ctx, c, Fib, 30))
	fmt.Println(client.Call(ctx, c, Fib, -1))
	// Output:
	// 832040 <nil>
	// 0 invalid_argument: n must be 0 to 93, got -1
}

// The code of an error tells what kind of failure it is, and Executed whether the effect may have happened.
func ExampleCall_errors() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	c, _ := client.New(broker.Connector("client"))
	defer c.Close(ctx)

	_, err := client.Call(ctx, c, Fib, 30)
	switch {
	case errors.Is(err, client.ErrNoServer):
		fmt.Println("nobody serves it;", "executed:", rpc.Executed(err))
	case rpc.CodeOf(err).Retryable():
		fmt.Println("later, perhaps")
	case rpc.Executed(err) == rpc.ExecutedUnknown:
		fmt.Println("it may have happened")
	}
	// Output: nobody serves it; executed: no
}

// A call survives the loss of its connection: it is sent again under the same call ID, and the server, which knows that,
// does not run it again.
func ExampleClient_Do() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	defer startMath(broker)()
	connector := broker.Connector("client")
	c, _ := client.New(connector)
	defer c.Close(ctx)

	connector.Fail(conntest.LoseAfterPublish(1))
	reply, err := c.Do(ctx, &rpc.Request{Service: "math", Method: "fib", Body: []byte("30")})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, sent again: %d\n", reply.Body, c.Stats().Resent)
	// Output: 832040, sent again: 1
}

// An interceptor sees each call of the client, and may change, repeat or answer it.
func ExampleWithInterceptors() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	defer startMath(broker)()

	trace := func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
			reply, err := next(ctx, r)
			fmt.Printf("%s/%s: %v\n", r.Service, r.Method, rpc.CodeOf(err))
			return reply, err
		}
	}
	c, _ := client.New(broker.Connector("client"), client.WithInterceptors(trace))
	defer c.Close(ctx)
	client.Call(ctx, c, Fib, 30)
	client.Call(ctx, c, Fib, -1)
	// Output:
	// math/fib: ok
	// math/fib: invalid_argument
}

// The server of RabbitMQ's tutorial 6 takes digits from "rpc_queue", and answers with digits.
func ExampleWithQueue() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	tutorial, _ := broker.Connector("tutorial").Session(ctx)
	tutorial.DeclareQueue(ctx, conn.Queue{Name: "rpc_queue"})
	p, _ := tutorial.OpenPublisher(ctx, nil)
	tutorial.Consume(ctx, conn.Consume{Queue: "rpc_queue", Prefetch: 1}, func(d *conn.Delivery) {
		fmt.Printf("fib(%s)\n", d.Body)
		p.Publish(&conn.Message{Key: d.ReplyTo, CorrelationID: d.CorrelationID, Body: []byte("832040")}, nil)
		d.Ack()
	})

	c, _ := client.New(broker.Connector("client"), client.WithQueue("rpc_queue"))
	defer c.Close(ctx)
	fmt.Println(client.Call(ctx, c, rpc.Method[int, uint64]{ContentType: rpc.ContentTypeText}, 30))
	// Output:
	// fib(30)
	// 832040 <nil>
}
