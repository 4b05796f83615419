package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func wantNotNo(t *testing.T, err error) {
	t.Helper()
	if rpc.Executed(err) == rpc.ExecutedNo {
		t.Errorf("%v: executed no, though the handler has run or may run", err)
	}
}

// The handler ran, its transaction was undone, and the database is gone: what it did elsewhere is not undone.
func TestUndoneThenBeginFails(t *testing.T) {
	c := &counter{}
	store := &faulty{Store: newLRU(t), complete: idempotency.ErrUndone}
	c.do = func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		store.begin = errors.New("connection refused")
		return &rpc.Reply{Body: []byte("paid elsewhere, too")}, nil
	}
	_, err := rpc.Chain(c.handle, idempotency.Interceptor(store))(t.Context(), request("1"))
	c.wantRuns(t, 1)
	wantNotNo(t, err)
}

// The same, and the second run says no for itself.
func TestUndoneThenNo(t *testing.T) {
	c := &counter{}
	store := &faulty{Store: newLRU(t), complete: idempotency.ErrUndone}
	c.do = func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		if c.n.Load() == 2 {
			return nil, rpc.Errorf(rpc.ResourceExhausted, "not now").WithExecuted(rpc.ExecutedNo)
		}
		return &rpc.Reply{Body: []byte("paid elsewhere, too")}, nil
	}
	_, err := rpc.Chain(c.handle, idempotency.Interceptor(store))(t.Context(), request("1"))
	c.wantRuns(t, 2)
	wantNotNo(t, err)
}

// The call is known to run elsewhere, and then the store fails.
func TestInFlightThenBeginFails(t *testing.T) {
	store := &waits{faulty: faulty{begin: errors.New("connection refused")}, n: 1}
	c := &counter{}
	_, err := rpc.Chain(c.handle, idempotency.Interceptor(store))(t.Context(), request("1"))
	wantNotNo(t, err)
}

// A duplicate joins the call in this process. That runs, its outcome is not recorded since the database has gone.
func TestJoinedThenBeginFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: newLRU(t)}
		c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			time.Sleep(time.Second)
			store.begin, store.complete = errors.New("connection refused"), errors.New("connection refused")
			return &rpc.Reply{}, nil
		}}
		h := rpc.Chain(c.handle, idempotency.Interceptor(store))
		go h(t.Context(), request("1"))
		synctest.Wait()
		_, err := h(t.Context(), request("1"))
		c.wantRuns(t, 1)
		wantNotNo(t, err)
	})
}

type lostClaim struct{ idempotency.Store }

func (lostClaim) Abandon(context.Context, idempotency.Token) error { return idempotency.ErrLost }

// The claim was lost: another has taken the call over and may have run it. The holder that wakes up says no.
func TestNoOfAHolderThatLostItsClaim(t *testing.T) {
	c := &counter{do: func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		return nil, rpc.Errorf(rpc.Unavailable, "not now").WithExecuted(rpc.ExecutedNo)
	}}
	_, err := rpc.Chain(c.handle, idempotency.Interceptor(lostClaim{newLRU(t)}))(t.Context(), request("1"))
	wantNotNo(t, err)
	if !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("error %v, want ErrLost in its chain, as Interceptor says", err)
	}
}
