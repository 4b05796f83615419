package endtoend

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
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

// On a network that takes nothing calls end by their deadlines, and when they are cancelled, whatever they have to send and whatever others
// in the same process do.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	url := testbroker.URL(t)
	m, p := open(t, url), proxy(t, url)
	shared := open(t, p.URL())
	size := rpc.Method[[]byte, int]{Service: service(t, m).Service, Name: "size"}
	serve(t, m, size, func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	noisy, quiet := newClient(t, shared), newClient(t, shared)
	for _, c := range []*client.Client{noisy, quiet} {
		_, err := client.Call(t.Context(), c, size, nil)
		must(t, err)
	}
	stall := p.Inject(chaos.Stall{})
	defer stall.Heal()
	canceled, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(time.Second, cancel).Stop()
	var all sync.WaitGroup
	start := time.Now()
	for range 4 {
		for name, call := range map[string]func() error{
			"large": func() error {
				_, err := client.Call(t.Context(), noisy, size, make([]byte, 3<<19), client.WithTimeout(time.Second))
				return err
			},
			"small": func() error {
				_, err := client.Call(t.Context(), quiet, size, nil, client.WithTimeout(time.Second))
				return err
			},
			"cancelled": func() error {
				_, err := client.Call(canceled, quiet, size, nil)
				return err
			},
		} {
			all.Go(func() {
				err := call()
				if took := time.Since(start); err == nil || took > 5*time.Second {
					t.Errorf("%s: got %v after %v, want an error after a second or little more", name, err, took)
				}
			})
		}
	}
	all.Wait()
}

// slowFor is how long a slow network is used.
func slowFor(usual time.Duration) time.Duration {
	if os.Getenv("RABBITRPC_LONG") != "" {
		return time.Minute
	}
	return usual
}
