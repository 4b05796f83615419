package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

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

// quiet keeps the examples' servers from logging.
var quiet = server.WithLogger(slog.New(slog.DiscardHandler))

// run runs s until the function that it returns is called. That one returns the error of Run.
func run(s *server.Server) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- s.Run(ctx) }()
	<-s.Ready()
	return func() error { cancel(); return <-stopped }
}

func ExampleHandle() {
	ctx := context.Background()
	broker := conntest.NewBroker() // in a program: conn.Open(ctx, "amqp://localhost")
	defer broker.Close()

	s, err := server.New(broker.Connector("server"), "math", quiet)
	if err != nil {
		panic(err)
	}
	server.Handle(s, Fib, fib)
	defer run(s)() // in a program: s.Run(ctx), which blocks

	c, _ := client.New(broker.Connector("client"))
	defer c.Close(ctx)
	fmt.Println(client.Call(ctx, c, Fib, 30))
	fmt.Println(client.Call(ctx, c, Fib, 94))
	// Output:
	// 832040 <nil>
	// 0 invalid_argument: n must be 0 to 93, got 94
}

// A handler without types gets the body as it came, and says what the reply is.
func ExampleServer_Handle() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	s, _ := server.New(broker.Connector("server"), "echo", quiet, server.WithName("echo-1"))
	s.Handle("echo", func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
		return &rpc.Reply{ContentType: r.ContentType, Body: r.Body}, nil
	})
	defer run(s)()

	c, _ := client.New(broker.Connector("client"))
	defer c.Close(ctx)
	reply, _ := c.Do(ctx, &rpc.Request{Service: "echo", Method: "echo", ContentType: rpc.ContentTypeText, Body: []byte("hello")})
	fmt.Printf("%s, %s says %s\n", reply.Body, reply.Server, reply.ContentType)
	// Output: hello, echo-1 says text/plain
}

// An error that is not an *rpc.Error stays here: its caller learns that there was one.
func ExampleHandle_errors() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	s, _ := server.New(broker.Connector("server"), "math", quiet)
	server.Handle(s, Fib, func(_ context.Context, n int) (uint64, error) {
		switch n {
		case 0:
			return 0, errors.New("dial 10.0.0.7: password rejected")
		case 1:
			panic("index out of range")
		}
		return 0, rpc.Errorf(rpc.NotFound, "no number %d", n).WithDetails(n)
	})
	defer run(s)()

	c, _ := client.New(broker.Connector("client"))
	defer c.Close(ctx)
	for n := range 3 {
		_, err := client.Call(ctx, c, Fib, n)
		fmt.Println(err)
	}
	// Output:
	// unknown: handler failed
	// internal: handler panicked
	// not_found: no number 2
}

// When its context ends Run lets what runs come to its end, and answers it.
func ExampleServer_Run() {
	broker := conntest.NewBroker()
	defer broker.Close()
	s, _ := server.New(broker.Connector("server"), "math", quiet)
	started, finish := make(chan bool), make(chan bool)
	server.Handle(s, Fib, func(ctx context.Context, n int) (uint64, error) {
		close(started)
		<-finish
		return fib(ctx, n)
	})
	stop := run(s)

	c, _ := client.New(broker.Connector("client"))
	defer c.Close(context.Background())
	answer := make(chan uint64)
	go func() {
		v, _ := client.Call(context.Background(), c, Fib, 30)
		answer <- v
	}()
	<-started
	go close(finish)
	err := stop()
	fmt.Println(<-answer, err)
	// Output: 832040 <nil>
}

// An interceptor answers for the handlers, or lets them. What it denies has not been executed, and it should say so.
func ExampleWithInterceptors() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	tenants := func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
			if r.Header["tenant"] == "" {
				return nil, rpc.Errorf(rpc.Unauthenticated, "who are you?").WithExecuted(rpc.ExecutedNo)
			}
			return next(ctx, r)
		}
	}
	s, _ := server.New(broker.Connector("server"), "math", quiet, server.WithInterceptors(tenants))
	server.Handle(s, Fib, fib)
	defer run(s)()

	c, _ := client.New(broker.Connector("client"))
	defer c.Close(ctx)
	_, err := client.Call(ctx, c, Fib, 30)
	fmt.Println(err, "- executed:", rpc.Executed(err))
	// Output: unauthenticated: who are you? - executed: no
}

// The client of RabbitMQ's tutorial 6 sends digits to "rpc_queue", without a method, and reads digits.
func ExampleWithQueue() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	s, _ := server.New(broker.Connector("server"), "math", quiet, server.WithQueue("rpc_queue", "fib"))
	server.Handle(s, Fib, fib)
	defer run(s)()

	tutorial, _ := broker.Connector("tutorial").Session(ctx)
	q, _ := tutorial.DeclareQueue(ctx, conn.Queue{Exclusive: true})
	replies := make(chan *conn.Delivery, 1)
	tutorial.Consume(ctx, conn.Consume{Queue: q.Name, NoAck: true}, func(d *conn.Delivery) { replies <- d })
	p, _ := tutorial.OpenPublisher(ctx, nil)
	p.Publish(&conn.Message{Key: "rpc_queue", ReplyTo: q.Name, CorrelationID: "1", Body: []byte("30")}, nil)
	reply := <-replies
	fmt.Printf("%s: %s\n", reply.CorrelationID, reply.Body)
	// Output: 1: 832040
}
