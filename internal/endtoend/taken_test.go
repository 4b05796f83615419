package endtoend

import (
	"context"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// backWithin makes calls until one is answered, which has to be soon.
func backWithin(t *testing.T, limit time.Duration, m *conn.Manager, method rpc.Method[int, int]) {
	t.Helper()
	c := newClient(t, m, client.WaitForServer(), client.WithoutBreaker())
	start := time.Now()
	if got, err := client.Call(t.Context(), c, method, 21); got != 42 || err != nil {
		t.Fatalf("got %d, %v, want 42", got, err)
	}
	took := time.Since(start)
	t.Logf("back in service after %v", took)
	if took > limit {
		t.Errorf("back in service after %v, want at most %v", took, limit)
	}
}

// slack is what a machine in use may add to a bound of a second.
const slack = 4 * time.Second

// A server whose queue is deleted declares it again and serves.
func TestQueueDeleted(t *testing.T) {
	m := open(t, testbroker.URL(t))
	method := service(t, m)
	serve(t, m, method, double)
	s, err := open(t, testbroker.URL(t)).Session(t.Context()) // the server's own ends with its queue
	must(t, err)
	must(t, s.DeleteQueue(t.Context(), wire.Queue(method.Service)))
	backWithin(t, time.Second+slack, m, method)
}

// A server whose acknowledgement is overdue for the broker, which closes the channel with 406, goes on.
func TestConsumerTimeout(t *testing.T) {
	long(t)
	n := testbroker.OwnNode(t)
	_, err := n.Ctl(t.Context(), "eval",
		"application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 1000).")
	must(t, err)
	m, own := open(t, n.URL()), open(t, n.URL())
	method := rpc.Method[int, int]{Service: "slow", Name: "double"}
	hold := make(chan struct{})
	serve(t, m, method, func(_ context.Context, k int) (int, error) {
		if k == 1 {
			<-hold
		}
		return 2 * k, nil
	})
	defer close(hold)
	lost, err := m.Session(t.Context())
	must(t, err)
	c := newClient(t, own, client.AtMostOnce())
	go client.Call(t.Context(), c, method, 1)
	select {
	case <-lost.Done():
		t.Logf("the session ended with: %v", lost.Err())
	case <-time.After(time.Minute):
		t.Fatal("the broker did not close the channel")
	}
	backWithin(t, time.Second+slack, own, method)
}
