package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
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

// TestRandomFaults calls through a random schedule of faults. Each seed is a subtest, to be run alone by its name.
// RABBITRPC_SEEDS says how many there are.
func TestRandomFaults(t *testing.T) {
	seeds := uint64(150)
	if s := os.Getenv("RABBITRPC_SEEDS"); s != "" {
		var err error
		if seeds, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	var total client.Stats
	for seed := range seeds {
		for servers := 1; servers <= 2; servers++ {
			t.Run(fmt.Sprintf("seed %d, %d servers", seed, servers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &world{rig: newRig(t, nil), random: rand.New(rand.NewPCG(seed, 0)), runs: make(map[int][]string)}
					w.live(servers, seed)
					s := w.client.Stats()
					total.Resent += s.Resent
					total.Bounced += s.Bounced
					total.OK += s.OK
					total.Failed += s.Failed
				})
			})
		}
	}
	t.Logf("%+v", total)
	if total.OK == 0 || total.Failed == 0 || total.Resent == 0 || total.Bounced == 0 {
		t.Error("the faults did not bite")
	}
}

// world is a rig with several servers and callers, and what happened in it.
type world struct {
	*rig
	random  *rand.Rand // of the schedule
	servers []*process

	mu     sync.Mutex       // guards what follows
	runs   map[int][]string // per call: where its handler ran
	denied []int            // calls that ended with executed no
}

// process is a server process that can be replaced by a new one, which has forgotten everything.
type process struct {
	name string
	life int
	conn *conntest.Connector
	stop func()
}

func (w *world) live(servers int, seed uint64) {
	for i := range servers {
		name := fmt.Sprint("server ", i)
		p := &process{name: name, conn: w.broker.Connector(name)}
		w.servers = append(w.servers, p)
		w.start(p)
	}
	var over atomic.Bool
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i+1)))
			for n := 1000 * i; !over.Load(); n++ {
				w.check(n, time.Duration(200+random.IntN(3800))*time.Millisecond)
				time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			}
		})
	}
	for range 15 {
		w.pause(200)
		w.fault()
	}
	over.Store(true)
	callers.Wait()
	for _, p := range w.servers {
		p.stop()
	}
	time.Sleep(5 * time.Second) // what is in a queue expires

	for _, n := range w.denied {
		if len(w.runs[n]) > 0 {
			w.t.Errorf("call %d ended with executed no, and ran at %v", n, w.runs[n])
		}
	}
	for n, at := range w.runs {
		if once(n) && len(at) > 1 {
			w.t.Errorf("call %d ran at %v, and was to run at most once", n, at)
		}
		slices.Sort(at)
		if len(slices.Compact(slices.Clone(at))) < len(at) {
			w.t.Errorf("call %d ran at %v, at one of them more than once", n, at)
		}
	}
}

// start runs the next life of a process.
func (w *world) start(p *process) {
	p.life++
	name := fmt.Sprint(p.name, ", life ", p.life)
	_, p.stop = w.serve(p.conn, func(_ context.Context, n int) (int, error) {
		w.mu.Lock()
		w.runs[n] = append(w.runs[n], name)
		w.mu.Unlock()
		time.Sleep(time.Duration(n%5*20) * time.Millisecond)
		if fails(n) {
			return 0, rpc.Errorf(rpc.FailedPrecondition, "%d", n)
		}
		return 2 * n, nil
	}, server.WithWorkers(2))
}

func fails(n int) bool { return n%5 == 3 }

func once(n int) bool { return n%7 == 1 || n%7 == 5 }

// options are those of a call.
func options(n int) []client.CallOption {
	switch n % 7 {
	case 1:
		return []client.CallOption{client.AtMostOnce()}
	case 2:
		return []client.CallOption{client.Durable()}
	case 3:
		return []client.CallOption{client.FailFast()}
	case 4:
		return []client.CallOption{client.WaitForServer()}
	case 5:
		return []client.CallOption{client.AtMostOnce(), client.Durable()}
	}
	return nil
}

// check makes a call and checks what can be said at its end.
func (w *world) check(n int, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	start := time.Now()
	got, err := client.Call(ctx, w.client, double, n, options(n)...)
	if d := time.Since(start); d > timeout {
		w.t.Errorf("call %d took %v, its timeout was %v", n, d, timeout)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Logf("%v call %d: got %d, %v, executed %v", time.Now().Format("05.000"), n, got, err, rpc.Executed(err))
	switch code := rpc.CodeOf(err); {
	case code == rpc.OK && got == 2*n && !fails(n):
	case code == rpc.FailedPrecondition && fails(n):
	case code == rpc.Unavailable, code == rpc.DeadlineExceeded:
	default:
		w.t.Errorf("call %d: got %d, %v", n, got, err)
	}
	switch x := rpc.Executed(err); {
	case x == rpc.ExecutedNo:
		w.denied = append(w.denied, n)
	case x == rpc.ExecutedYes && len(w.runs[n]) == 0:
		w.t.Errorf("call %d was executed, and ran nowhere", n)
	}
}

// pause waits up to ms milliseconds.
func (w *world) pause(ms int) { time.Sleep(time.Duration(w.random.IntN(ms)) * time.Millisecond) }

// fault does something bad to somebody.
func (w *world) fault() {
	p := w.servers[w.random.IntN(len(w.servers))]
	n := 1 + w.random.IntN(3)
	faults := []struct {
		name string
		do   func()
	}{
		{"client loses its session", w.conn.Lose},
		{"client: lose before publish", func() { w.conn.Fail(conntest.LoseBeforePublish(n)) }},
		{"client: lose after publish", func() { w.conn.Fail(conntest.LoseAfterPublish(n)) }},
		{"client: fail publish", func() { w.conn.Fail(conntest.FailPublish(n)) }},
		{"server loses its session", p.conn.Lose},
		{"server: lose before publish", func() { p.conn.Fail(conntest.LoseBeforePublish(n)) }},
		{"server: lose after publish", func() { p.conn.Fail(conntest.LoseAfterPublish(n)) }},
		{"server: lose ack", func() { p.conn.Fail(conntest.LoseAck(n)) }},
		{"server: duplicate delivery", func() { p.conn.Fail(conntest.DuplicateDelivery(n)) }},
		{"broker restarts", func() { w.broker.Stop(); w.pause(500); w.broker.Start() }},
		{"broker blocks", func() { w.broker.Block(); w.pause(500); w.broker.Unblock() }},
		{"server restarts", func() { p.stop(); w.pause(300); w.start(p) }},
	}
	f := faults[w.random.IntN(len(faults))]
	w.t.Logf("%v %s (%d)", time.Now().Format("05.000"), f.name, n)
	f.do()
}
