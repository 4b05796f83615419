package idempotency_test

import (
	"context"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func ExampleInterceptor() {
	store, err := idempotency.NewLRU()
	if err != nil {
		fmt.Println(err)
		return
	}
	balance := 100
	pay := rpc.Chain(func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		balance -= 30
		return &rpc.Reply{Body: fmt.Append(nil, balance)}, nil
	}, idempotency.Interceptor(store))

	for attempt := 1; attempt <= 2; attempt++ {
		req := &rpc.Request{Service: "bank", Method: "pay", Client: "shop", ID: "order-7", Attempt: attempt}
		reply, err := pay(context.Background(), req)
		fmt.Printf("%s %t %v\n", reply.Body, reply.Replayed, err)
	}
	// Output:
	// 70 false <nil>
	// 70 true <nil>
}
