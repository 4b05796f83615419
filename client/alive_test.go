package client_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// What the broker loses without a word, a request or a reply, is sent again long before the deadline. It runs once.
func TestLostWithoutAWord(t *testing.T) {
	for _, lost := range []string{"request", "reply"} {
		t.Run(lost, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, client.WithTimeout(10*time.Second))
				var runs atomic.Int32
				at := r.broker.Connector("server")
				r.serve(at, func(_ context.Context, n int) (int, error) { runs.Add(1); return 2 * n, nil })
				r.mustCall(21)
				loses := map[string]*conntest.Connector{"request": r.conn, "reply": at}[lost]
				struck := loses.Fail(conntest.RefusePublish(1))
				start := time.Now()
				r.mustCall(21)
				<-struck
				if took := time.Since(start); took < 7*time.Second || took > 9*time.Second {
					t.Errorf("it took %v, want 7s to 9s", took)
				}
				if n := runs.Load(); n != 2 {
					t.Errorf("the handler ran %d times, want once for each call", n)
				}
			})
		})
	}
}

// A call that takes long is not taken for lost: its server says every two seconds that it runs.
func TestLongCallIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, client.WithTimeout(2*time.Minute))
		var runs atomic.Int32
		r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
			runs.Add(1)
			time.Sleep(time.Minute)
			return 2 * n, nil
		})
		r.mustCall(21)
		if n := runs.Load(); n != 1 {
			t.Errorf("the handler ran %d times, want once", n)
		}
		if st := r.client.Stats(); st.Resent+st.Late != 0 {
			t.Errorf("got %+v, want nothing sent again, and nothing late", st)
		}
	})
}

// A call that may be executed once only is not sent again, lost or not. It waits.
func TestAtMostOnceLostWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, client.WithTimeout(20*time.Second))
		r.serve(r.broker.Connector("server"), twice)
		r.mustCall(21)
		r.conn.Fail(conntest.RefusePublish(1))
		start := time.Now()
		_, err := r.call(t.Context(), 21, client.AtMostOnce())
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown, rpc.ErrNoAnswer)
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("it took %v, want 20s", took)
		}
	})
}

// In an alarm servers cannot say that they have a call, and what is sent again has to wait. The call ends well all the same.
func TestLongCallInAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, client.WithTimeout(time.Minute))
		r.serve(r.broker.Connector("server"), slow(30*time.Second))
		time.AfterFunc(time.Second, r.broker.Block)
		time.AfterFunc(40*time.Second, r.broker.Unblock)
		start := time.Now()
		r.mustCall(21)
		if took := time.Since(start); took < 40*time.Second {
			t.Errorf("it took %v, and the alarm 40s: the test shows nothing", took)
		}
	})
}

// After a disturbance of the broker nobody's being there means not yet: servers may have lost their connections too.
func TestNobodyAfterUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, client.WithTimeout(20*time.Second))
		_, stop := r.serve(r.broker.Connector("before"), twice)
		r.mustCall(21)
		r.conn.Fail(conntest.RefusePublish(1))
		time.AfterFunc(6*time.Second, stop)
		time.AfterFunc(12*time.Second, func() { r.serve(r.broker.Connector("after"), twice) })
		r.mustCall(21)
	})
}

// A request that is lost on its way into the queue is sent again once the queue is seen to be empty; one that waits there is not.
func TestQueuedUnheard(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lose   bool
		within time.Duration
	}{
		{"lost", true, 13 * time.Second},
		{"waits", false, 31 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, client.WithTimeout(time.Minute))
				var runs atomic.Int32
				busy := 30 * time.Second
				if tt.lose {
					busy = time.Second
				}
				r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
					runs.Add(1)
					time.Sleep(busy)
					return 2 * n, nil
				}, server.WithWorkers(1))
				var first sync.WaitGroup
				first.Go(func() { r.mustCall(1) })
				time.Sleep(time.Millisecond)
				if tt.lose {
					r.conn.Fail(conntest.RefusePublish(2)) // the first bounces
				}
				start := time.Now()
				r.mustCall(21)
				first.Wait()
				if took := time.Since(start); took > tt.within+busy {
					t.Errorf("it took %v, want %v at most", took, tt.within+busy)
				}
				if n := runs.Load(); n != 2 {
					t.Errorf("the handler ran %d times, want once for each call", n)
				}
			})
		})
	}
}
