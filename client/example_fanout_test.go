package client_test

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A call blocks the goroutine that makes it. To go on meanwhile, start a goroutine: it costs less than a microsecond, and
// what the call came to goes where you want it.
func ExampleCall_async() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	defer startMath(broker)()
	c, _ := client.New(broker.Connector("client"))
	defer c.Close(ctx)

	answer := make(chan uint64, 1)
	go func() {
		v, err := client.Call(ctx, c, Fib, 30)
		if err != nil {
			v = 0
		}
		answer <- v
	}()
	fmt.Println("meanwhile")
	fmt.Println(<-answer)
	// Output:
	// meanwhile
	// 832040
}

// Scatter, gather: all calls share one deadline, and the first failure cancels the others.
func ExampleCall_scatterGather() {
	broker := conntest.NewBroker()
	defer broker.Close()
	defer startMath(broker)()
	c, _ := client.New(broker.Connector("client"))
	defer c.Close(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	numbers := []int{10, 20, 30}
	answers := make([]uint64, len(numbers))
	g, ctx := errgroup.WithContext(ctx)
	for i, n := range numbers {
		g.Go(func() (err error) {
			answers[i], err = client.Call(ctx, c, Fib, n)
			return err
		})
	}
	fmt.Println(g.Wait(), answers)
	// Output: <nil> [55 6765 832040]
}

// A method's defaults are shared by all its callers; the options of a call win.
func ExampleCallOption() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	c, _ := client.New(broker.Connector("client"))
	defer c.Close(ctx)

	charge := rpc.Method[int, string]{Service: "billing", Name: "charge", AtMostOnce: true, Timeout: 2 * time.Second}
	_, err := client.Call(ctx, c, charge, 100, client.WithTimeout(time.Second), client.WithHeader("tenant", "blue"))
	fmt.Println(rpc.CodeOf(err), rpc.Executed(err))
	// Output: unavailable no
}
