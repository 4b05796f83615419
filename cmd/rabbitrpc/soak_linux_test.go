package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

const (
	soakDrain  = 10 * time.Second
	soakOutage = 3 * time.Second // from the end of the broker to its start: long enough to look at probes in it
)

// soakConfig has memories that are full within minutes: only then is it seen whether anything else grows.
const soakConfig = `
admin: {listen: '%s'}
services:
  - {name: math, kind: math, drain: %[2]v, dedupe: {store: lru, entries: 5000}}
  - {name: echo, kind: echo, drain: %[2]v, dedupe: {store: lru, entries: 5000}}
  - {name: cat, kind: exec, methods: [cat], command: [/bin/cat], drain: %[2]v, dedupe: {store: lru, entries: 2000}}
`

// TestDaemonForLong: a daemon under load, whose broker is stopped or killed each minute and comes back, answers each call, says
// in /readyz what is so, does not grow, logs little, and in the end drains. RABBITRPC_SOAK is for how long, 3m by default:
// before that the memories of calls are not full, and what the process takes still grows.
func TestDaemonForLong(t *testing.T) {
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("takes minutes: set RABBITRPC_LONG")
	}
	length := 3 * time.Minute
	if s := os.Getenv("RABBITRPC_SOAK"); s != "" {
		var err error
		length, err = time.ParseDuration(s)
		must(t, err)
	}
	every := min(time.Minute, length/4)

	node := testbroker.OwnNode(t)
	d := startSoaked(t, node.URL())
	load := startSoakLoad(t, node.URL(), 2*length)
	ready, use := watchReady(t, d.addr), watchUse(t, d)
	start := time.Now()
	for n := 1; time.Since(start)+every < length; n++ {
		time.Sleep(time.Until(start.Add(time.Duration(n) * every)))
		ready.stays(load.answeredAt(start))
		o := load.restart(node, ready, n%2 == 0)
		t.Logf("%v: %v; %v; %d calls; %d bytes of log", time.Since(start).Round(time.Second), o, use.latest(),
			load.calls.Load(), len(d.said.String()))
	}
	time.Sleep(time.Until(start.Add(length)))
	ready.stays(load.answeredAt(start))
	ready.stop()
	use.stop()
	use.judge(length)
	d.handOver(node.URL(), load)
	load.judge()
	judgeLog(t, d.said.String(), time.Since(start), len(load.outages))
}

// A soaked daemon is looked at by its admin listener.
type soaked struct {
	*served
	addr string
}

func startSoaked(t *testing.T, broker string) *soaked {
	t.Helper()
	addr, err := freeAddress()
	must(t, err)
	path := filepath.Join(t.TempDir(), "c.yaml")
	writeConfig(t, path, soakConfig, addr, soakDrain)
	return &soaked{served: startServe(t, broker, path), addr: addr}
}

// handOver ends the daemon under load, beside another one that takes over.
func (d *soaked) handOver(broker string, load *soakLoad) {
	d.t.Helper()
	next := startSoaked(d.t, broker)
	d.signal(syscall.SIGTERM)
	took := d.ended()
	if d.err != nil || took > soakDrain {
		d.t.Errorf("it ended %v after SIGTERM under load: %v", took, d.err)
	}
	cpu := d.cmd.ProcessState.UserTime() + d.cmd.ProcessState.SystemTime()
	d.t.Logf("it ended %v after SIGTERM under load; it and its programs have used %v of processor time for each call",
		took.Round(time.Millisecond), cpu/time.Duration(load.calls.Load()))
	load.more(500)
	load.stop()
	next.signal(syscall.SIGTERM)
	if next.ended(); next.err != nil {
		d.t.Errorf("the daemon that took over ended with %v", next.err)
	}
}

// An outage is what another process has seen of one.
type outage struct {
	killed         bool
	gone, answered time.Time     // the connection was lost; each service has answered
	unready, ready time.Duration // after these, until /readyz said so; it may be before
}

func (o *outage) String() string {
	how := "stopped"
	if o.killed {
		how = "killed"
	}
	return fmt.Sprintf("broker %s, no answer for %v; /readyz 503 after %v, 200 %v after that answer", how,
		o.answered.Sub(o.gone).Round(time.Millisecond), o.unready.Round(time.Millisecond), o.ready.Round(time.Millisecond))
}

// restart ends the broker and starts it again.
func (l *soakLoad) restart(node *chaos.Node, ready *readiness, kill bool) *outage {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Minute)
	defer cancel()
	o := &outage{killed: kill, gone: time.Now()}
	if kill {
		must(l.t, node.Kill())
	} else {
		must(l.t, node.Stop(ctx))
		o.gone = l.lostSince(o.gone)
	}
	time.Sleep(time.Until(o.gone.Add(soakOutage)))
	start := time.Now()
	o.unready = ready.isNot(o.gone, start)
	answered := make(chan time.Time, 1)
	go func() { answered <- l.allAnswer(ctx) }()
	must(l.t, node.Start(ctx))
	at := ready.becomes(start)
	l.answerAtOnce(ctx, node.URL())
	o.answered = <-answered
	if o.ready = at.Sub(o.answered); o.ready > truthful {
		l.t.Errorf("/readyz is ready only %v after all services have answered", o.ready)
	}
	l.outages = append(l.outages, o)
	return o
}
