package endtoend

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A request or a reply that is larger than the broker takes costs those who share the session one of it, however often it is made, and its
// caller is told.
func TestLargerThanTheBrokerTakes(t *testing.T) {
	t.Parallel()
	url := testbroker.OwnNode(t, chaos.WithConfig("max_message_size = 1000000")).URL()
	t.Run("request", func(t *testing.T) { testLargeRequest(t, url) })
	t.Run("reply", func(t *testing.T) { testLargeReply(t, url) })
}

func testLargeRequest(t *testing.T, url string) {
	m := open(t, url)
	size := rpc.Method[[]byte, int]{Service: service(t, m).Service, Name: "size", ContentType: rpc.ContentTypeJSON}
	serve(t, m, size, func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	var lost atomic.Int64
	shared := open(t, url, conn.WithHooks(conn.Hooks{Lost: func(error, time.Duration) { lost.Add(1) }}))
	noisy, quiet := newClient(t, shared), newClient(t, shared)
	for _, n := range []int{1_000_000, 900_000, 800_000} { // as JSON a third more
		_, err := client.Call(t.Context(), noisy, size, make([]byte, n))
		if rpc.CodeOf(err) != rpc.InvalidArgument || rpc.Executed(err) != rpc.ExecutedNo {
			t.Errorf("%d bytes: got %v, executed %v, want invalid argument, no", n, err, rpc.Executed(err))
		}
	}
	for _, c := range []*client.Client{noisy, quiet} {
		if got, err := client.Call(t.Context(), c, size, make([]byte, 700_000)); got != 700_000 {
			t.Errorf("got %d, %v", got, err)
		}
	}
	if n := lost.Load(); n != 1 {
		t.Errorf("%d sessions were lost, want 1", n)
	}
}

func testLargeReply(t *testing.T, url string) {
	m := open(t, url)
	var lost atomic.Int64
	shared := open(t, url, conn.WithHooks(conn.Hooks{Lost: func(error, time.Duration) { lost.Add(1) }}))
	zeros := rpc.Method[int, []byte]{Service: service(t, m).Service, Name: "zeros", ContentType: rpc.ContentTypeJSON}
	serve(t, shared, zeros, func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
	c := newClient(t, m)
	for _, n := range []int{1_000_000, 900_000, 1_000_000} { // as JSON a third more
		_, err := client.Call(t.Context(), c, zeros, n, client.WaitForServer())
		if rpc.CodeOf(err) != rpc.ResourceExhausted || rpc.Executed(err) != rpc.ExecutedYes {
			t.Errorf("%d bytes: got %v, executed %v, want resource exhausted, yes", n, err, rpc.Executed(err))
		}
	}
	if got, err := client.Call(t.Context(), c, zeros, 700_000, client.WaitForServer()); len(got) != 700_000 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if n := lost.Load(); n != 1 {
		t.Errorf("%d sessions were lost, want 1", n)
	}
}
