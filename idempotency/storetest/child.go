package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// env is the name of the variable with the orders for a process that is to run a call.
const env = "RABBITRPC_STORETEST"

// orders are what a process is to do.
type orders struct {
	Process    int
	Place      string
	Ledger     string // file for effects
	Answers    string // file for answers, since a store may print
	Calls      int    // to run, some at a time
	AtMostOnce bool
	Timeout    time.Duration
}

// atATime is how many calls a process runs at a time.
const atATime = 8

// answer is what a process says of a call.
type answer struct {
	ID       string
	Code     rpc.Code
	Executed rpc.Execution
	Body     string
	Replayed bool
	Claims   int // that the handler saw; 0 if it did not run, or the store does not count
	Lost     bool
}

// body is the reply of the handler in process n.
func body(n int) string { return fmt.Sprintf("by process %d", n) }

// callID is that of call n, from 1.
func callID(n int) string { return fmt.Sprint("call ", n) }

// child carries out the orders, in a process of its own, which it ends.
func (c Crash) child(text string) {
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = c.carryOut(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// carryOut runs the calls behind the interceptor, as a server would.
func (c Crash) carryOut(o orders) error {
	store, err := c.Open(o.Place)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	apply := c.Apply
	if apply == nil {
		apply = func(_ context.Context, id string) error { return add(o.Ledger, id) }
	}
	handler := rpc.Chain(func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		failpoint.Hit(string(Entered))
		ctx.Value(answerKey{}).(*answer).Claims = idempotency.ClaimsOf(ctx)
		if err := apply(ctx, req.ID); err != nil {
			return nil, err
		}
		failpoint.Hit(string(Applied))
		return &rpc.Reply{Body: []byte(body(o.Process))}, nil
	}, idempotency.Interceptor(store))

	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
	for n := 1; n <= o.Calls; n++ {
		g.Go(func() error { return call(ctx, handler, callID(n), o) })
	}
	return g.Wait()
}

type answerKey struct{}

// call runs a call and writes its answer.
func call(ctx context.Context, handler rpc.Handler, id string, o orders) error {
	a := answer{ID: id}
	reply, err := handler(context.WithValue(ctx, answerKey{}, &a), &rpc.Request{
		Service: "s", Method: "m", Client: "c", ID: id, Body: []byte("payload"), AtMostOnce: o.AtMostOnce,
	})
	a.Code, a.Executed, a.Lost = rpc.CodeOf(err), rpc.Executed(err), errors.Is(err, idempotency.ErrLost)
	if err == nil {
		a.Body, a.Replayed = string(reply.Body), reply.Replayed
	} else {
		fmt.Fprintln(os.Stderr, err, errors.Unwrap(err)) // for the log of a test that fails
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return add(o.Answers, string(text))
}
