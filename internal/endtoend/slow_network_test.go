package endtoend

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// A network that is slow, or stands still for a while, costs no connection, and no request is sent twice.
func TestSlowNetwork(t *testing.T) {
	t.Parallel()
	m := open(t, testbroker.URL(t))
	var all sync.WaitGroup
	defer all.Wait()
	for _, tt := range []struct {
		what   chaos.Fault
		stands time.Duration // then it goes on
	}{
		{chaos.Latency{Delay: 500 * time.Millisecond, Jitter: 400 * time.Millisecond}, 0},
		{chaos.Bandwidth{BytesPerSecond: 1000}, 0},
		{chaos.Stall{}, 800 * time.Millisecond},
		{chaos.Stall{Dir: chaos.ToBroker}, 800 * time.Millisecond},
		{chaos.Stall{Dir: chaos.ToClient}, 800 * time.Millisecond},
	} {
		all.Go(func() {
			t.Run(tt.what.String(), func(t *testing.T) {
				n := newNetwork(t, m, 3*time.Second)
				mc, err := n.mc.Session(t.Context())
				must(t, err)
				ms, err := n.ms.Session(t.Context())
				must(t, err)
				slow := []*chaos.Injection{n.clientSide.Inject(tt.what), n.serverSide.Inject(tt.what)}
				if tt.stands > 0 {
					for _, in := range slow {
						heal := time.AfterFunc(tt.stands, in.Heal)
						defer heal.Stop()
					}
				}
				begin, calls := time.Now(), 0
				for time.Since(begin) < slowFor(5*time.Second) { // in which a connection would be lost
					var wg sync.WaitGroup
					for range 3 {
						x := calls + 1
						calls++
						wg.Go(func() {
							if err := n.call(x, patience); err != nil {
								t.Errorf("got %v", err)
							}
							if got := n.effects(x); got != 1 {
								t.Errorf("call %d ran %d times", x, got)
							}
						})
					}
					wg.Wait()
				}
				t.Logf("%d calls, each took %v; %v", calls, (3 * time.Since(begin) / time.Duration(calls)).Round(time.Millisecond), slow)
				for _, s := range []conn.Session{mc, ms} {
					if err := s.Err(); err != nil {
						t.Errorf("a session was lost: %v", err)
					}
				}
				if st := n.c.Stats(); st.Resent != st.Bounced || st.Late != 0 { // what bounces has not been taken
					t.Errorf("got %+v, want nothing sent twice", st)
				}
				if slow[0].Bites()+slow[1].Bites() == 0 {
					t.Errorf("it did not bite: %v", slow)
				}
			})
		})
	}
}

// slowFor is how long a slow network is used.
func slowFor(usual time.Duration) time.Duration {
	if os.Getenv("RABBITRPC_LONG") != "" {
		return time.Minute
	}
	return usual
}
