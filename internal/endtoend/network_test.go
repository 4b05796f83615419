package endtoend

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A network is a client and a server, with a proxy before each.
type network struct {
	t                      *testing.T
	clientSide, serverSide *chaos.Proxy
	mc, ms                 *conn.Manager
	c                      *client.Client
	method                 rpc.Method[int, int]
	stop                   func() // the server

	mu  sync.Mutex // guards ran
	ran map[int]int
}

// newNetwork makes one on which a call has been made. m has a way to the broker of its own.
func newNetwork(t *testing.T, m *conn.Manager, heartbeat time.Duration) *network {
	t.Helper()
	url := testbroker.URL(t)
	n := &network{t: t, clientSide: proxy(t, url), serverSide: proxy(t, url), ran: make(map[int]int)}
	n.mc = open(t, n.clientSide.URL(), conn.WithHeartbeat(heartbeat))
	n.ms = open(t, n.serverSide.URL(), conn.WithHeartbeat(heartbeat))
	n.method = service(t, m)
	_, n.stop = serve(t, n.ms, n.method, func(_ context.Context, x int) (int, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ran[x]++
		return 2 * x, nil
	})
	n.c = newClient(t, n.mc)
	t.Cleanup(func() { // or those that close now would wait
		for _, p := range []*chaos.Proxy{n.clientSide, n.serverSide} {
			p.Heal()
			p.Inject(chaos.Reset{})
		}
	})
	if err := n.call(0, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *network) call(x int, timeout time.Duration) error {
	got, err := client.Call(n.t.Context(), n.c, n.method, x, client.WithTimeout(timeout), client.WaitForServer())
	if err == nil && got != 2*x {
		n.t.Errorf("got %d, want %d", got, 2*x)
	}
	return err
}

// effects returns how often the handler ran for x.
func (n *network) effects(x int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ran[x]
}

func (n *network) side(s string) (*chaos.Proxy, *conn.Manager) {
	if s == "client" {
		return n.clientSide, n.mc
	}
	return n.serverSide, n.ms
}

// patience is for what will come, with a machine that has other things to do.
const patience = 30 * time.Second

// An outcome is what a fault makes of a call.
type outcome struct {
	code     rpc.Code // with OK the call may take long, else two seconds
	executed rpc.Execution
	ran      int  // the handler
	lost     bool // the session, by the fault itself
}

var (
	well    = outcome{ran: 1}
	again   = outcome{ran: 1, lost: true}
	unheard = outcome{rpc.DeadlineExceeded, rpc.ExecutedUnknown, 0, false}
	unsaid  = outcome{rpc.DeadlineExceeded, rpc.ExecutedUnknown, 1, false}
	apart   = outcome{rpc.Unavailable, rpc.ExecutedNo, 0, true}
)

// What the network does to a client or a server is seen by the caller as it should be, has no effect twice, and is over
// when the network is well.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	const publish, deliver, ack = "basic.publish", "basic.deliver", "basic.ack"
	const toBroker, toClient = chaos.ToBroker, chaos.ToClient
	confirm, _ := confirmOfReply()
	m := open(t, testbroker.URL(t))
	var all sync.WaitGroup
	defer all.Wait()
	for _, tt := range []struct {
		at   string
		want outcome
		what []chaos.Fault
	}{
		{"client", again, []chaos.Fault{chaos.Reset{}}},
		{"client", again, []chaos.Fault{chaos.Reset{Dir: toClient}}},
		{"client", again, []chaos.Fault{chaos.HangUp{}}},
		{"client", again, []chaos.Fault{chaos.Reset{Conn: "consume"}}},
		{"client", again, []chaos.Fault{chaos.Cut{Bytes: 200, Nth: 1, Dir: toBroker}}},
		{"client", again, []chaos.Fault{chaos.HalfOpen{}}},
		{"client", again, []chaos.Fault{chaos.HalfOpen{Dir: toBroker}}},
		{"client", again, []chaos.Fault{chaos.HalfOpen{Dir: toClient}}},
		{"client", again, []chaos.Fault{chaos.HalfOpen{Conn: "publish"}}},
		{"client", again, []chaos.Fault{chaos.Drop{Method: "heartbeat", Dir: toBroker}}},
		{"client", again, []chaos.Fault{chaos.Drop{Method: "heartbeat", Dir: toClient}}},
		{"client", unheard, []chaos.Fault{chaos.Drop{Method: publish, Nth: 1}}},
		{"client", unsaid, []chaos.Fault{chaos.Drop{Method: deliver, Nth: 1}}},
		{"client", well, []chaos.Fault{chaos.Duplicate{Method: publish}}},
		{"client", well, []chaos.Fault{chaos.Duplicate{Method: deliver}}},
		{"client", well, []chaos.Fault{chaos.Delay{Method: publish, For: 300 * time.Millisecond}}},
		{"client", well, []chaos.Fault{chaos.Bandwidth{BytesPerSecond: 1000}}},
		{"client", apart, []chaos.Fault{chaos.Refuse{}, chaos.Reset{}}},
		{"client", apart, []chaos.Fault{chaos.Impostor{Says: chaos.HTTP, Closes: true}, chaos.Reset{}}},
		{"client", apart, []chaos.Fault{chaos.Impostor{}, chaos.Reset{}}},
		{"server", again, []chaos.Fault{chaos.Reset{}}},
		{"server", again, []chaos.Fault{chaos.HalfOpen{}}},
		{"server", again, []chaos.Fault{chaos.HalfOpen{Dir: toBroker}}},
		{"server", again, []chaos.Fault{chaos.HalfOpen{Dir: toClient}}},
		{"server", again, []chaos.Fault{chaos.Duplicate{Method: deliver, Nth: 1}}}, // acknowledged twice: 406
		{"server", again, []chaos.Fault{chaos.Duplicate{Method: ack, Nth: 1, Dir: toBroker}}},
		{"server", well, []chaos.Fault{chaos.Duplicate{Method: publish, Nth: 1}}},
		{"server", well, []chaos.Fault{chaos.Drop{Method: confirm, Nth: 1, Dir: toClient}}},
		{"server", well, []chaos.Fault{chaos.Drop{Method: ack, Nth: 1, Dir: toBroker}}},
		{"server", well, []chaos.Fault{chaos.Delay{Method: publish, For: 300 * time.Millisecond}}},
		{"server", unheard, []chaos.Fault{chaos.Drop{Method: deliver, Nth: 1}}},
		{"server", unsaid, []chaos.Fault{chaos.Drop{Method: publish, Nth: 1}}},
	} {
		var name []string
		for _, f := range tt.what {
			name = append(name, f.String())
		}
		all.Go(func() { // at the same time: they mostly wait
			t.Run(tt.at+" "+strings.Join(name, " and "), func(t *testing.T) {
				heartbeat := 10 * time.Second
				if tt.want == again {
					heartbeat = time.Second
				}
				n := newNetwork(t, m, heartbeat)
				p, side := n.side(tt.at)
				session, err := side.Session(t.Context())
				must(t, err)
				begin := time.Now()
				injected, took := n.meet(p, session, tt.what, tt.want)
				p.Heal()
				healed := time.Now()
				for err = errors.New(""); err != nil && time.Since(healed) < patience; {
					err = n.call(2, patience)
				}
				if err != nil {
					t.Errorf("after it was healed: %v", err)
				}
				t.Logf("%v: the call took %v, the next one after healing %v; %v", tt.want.code, took.Sub(begin).Round(time.Millisecond),
					time.Since(healed).Round(time.Millisecond), injected)
				if got := n.effects(1); got != tt.want.ran {
					t.Errorf("the handler ran %d times, want %d", got, tt.want.ran)
				}
				if got := n.effects(2); got != 1 {
					t.Errorf("the next call ran %d times, want once", got)
				}
			})
		})
	}
}

// meet makes a call under faults, and returns them when they have bitten, and when the call ended.
func (n *network) meet(p *chaos.Proxy, session conn.Session, what []chaos.Fault, want outcome) (all []*chaos.Injection, ended time.Time) {
	n.t.Helper()
	for _, f := range what {
		all = append(all, p.Inject(f))
	}
	lost := func() { wait(n.t, "the end of the session", func() bool { return session.Err() != nil }) }
	if _, drop := what[0].(chaos.Drop); want == apart || want == again && drop { // traffic is as good as heartbeats
		lost()
	}
	timeout := patience
	if want.code != rpc.OK {
		timeout = 2 * time.Second
	}
	err := n.call(1, timeout)
	ended = time.Now()
	if rpc.CodeOf(err) != want.code || err != nil && rpc.Executed(err) != want.executed {
		n.t.Errorf("got %v, executed %v, want %v, %v", err, rpc.Executed(err), want.code, want.executed)
	}
	for _, in := range all {
		wait(n.t, "a bite of "+in.String(), func() bool { return in.Bites() > 0 })
	}
	if want.lost {
		lost()
	} else if err := session.Err(); err != nil {
		n.t.Errorf("the session was lost: %v", err)
	}
	return all, ended
}

// Without the broker's return an unroutable request looks as if it was on its way.
func TestReturnDropped(t *testing.T) {
	m := open(t, testbroker.URL(t))
	n := newNetwork(t, m, 10*time.Second)
	for _, dropped := range []bool{true, false} {
		must(t, n.call(1, patience)) // now somebody is known to be there
		n.stop()
		s, err := m.Session(t.Context())
		must(t, err)
		must(t, s.DeleteQueue(t.Context(), wire.Queue(n.method.Service)))
		in := n.clientSide.Inject(chaos.Drop{Method: "basic.return"})
		want := rpc.DeadlineExceeded
		if !dropped {
			in.Heal()
			want = rpc.Unavailable
		}
		_, err = client.Call(t.Context(), n.c, n.method, 2, client.WithTimeout(500*time.Millisecond))
		if rpc.CodeOf(err) != want || errors.Is(err, client.ErrNoServer) == dropped || (in.Bites() > 0) != dropped {
			t.Errorf("got %v, want %v; %v", err, want, in)
		}
		n.clientSide.Heal()
		if dropped {
			_, n.stop = serve(t, n.ms, n.method, double)
		}
	}
}
