package bolt_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/bolt"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func Example() {
	dir, err := os.MkdirTemp("", "bolt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	balance := 100

	for process := 1; process <= 2; process++ {
		store, err := bolt.Open(filepath.Join(dir, "calls.db"))
		if err != nil {
			fmt.Println(err)
			return
		}
		pay := rpc.Chain(func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			balance -= 30
			return &rpc.Reply{Body: fmt.Append(nil, balance)}, nil
		}, idempotency.Interceptor(store))

		req := &rpc.Request{Service: "bank", Method: "pay", Client: "shop", ID: "order-7"}
		reply, err := pay(context.Background(), req)
		fmt.Printf("process %d: %s %t %v\n", process, reply.Body, reply.Replayed, err)
		if err := store.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// process 1: 70 false <nil>
	// process 2: 70 true <nil>
}
