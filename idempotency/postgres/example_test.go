package postgres_test

import (
	"context"
	"log"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func ExampleTx() {
	store, err := postgres.Open(context.Background(), "postgres://bank:password@localhost:5432/bank",
		postgres.WithTransactions(), postgres.WithConnections(64))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	// The balance is changed once, however often the request arrives, and whoever dies.
	pay := func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		_, err := postgres.Tx(ctx).Exec(ctx, "UPDATE accounts SET balance = balance - 30 WHERE id = $1", req.Client)
		if err != nil {
			return nil, err
		}
		return &rpc.Reply{Body: []byte("paid")}, nil
	}
	_ = rpc.Chain(pay, idempotency.Interceptor(store)) // to serve it: server.WithInterceptors
}
