package scenario

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const (
	sampleEvery = 100 * time.Millisecond
	timerEvery  = 5 * time.Millisecond
)

// timersLate measures by how much timers are late, until ctx ends. Take returns the most since it was asked last.
func timersLate(ctx context.Context) (take func() time.Duration, wait func()) {
	var most atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			due := time.Now().Add(timerEvery)
			time.Sleep(timerEvery)
			late := int64(time.Since(due))
			for old := most.Load(); late > old && !most.CompareAndSwap(old, late); old = most.Load() {
			}
		}
	})
	return func() time.Duration { return time.Duration(most.Swap(0)) }, wg.Wait
}

// sessions records each session of the callers with the broker, until ctx ends.
func (r *run) sessions(ctx context.Context, m *conn.Manager) {
	reason := ""
	for s := range m.Watch(ctx) {
		switch {
		case s.Phase == conn.Connected:
			r.history.Session(history.Session{At: r.history.Since(), Process: callersName, Error: reason})
			reason = ""
		case s.Err != nil && reason == "": // the first is why the session ended, the others are dials
			reason = s.Err.Error()
		}
	}
}

// sample records what is in use, and tells who watches how the run goes, until ctx ends.
func (r *run) sample(ctx context.Context) {
	late, end := timersLate(ctx)
	defer end()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		v := map[string]float64{
			"in flight": float64(r.load.inFlight.Load()),
			"dials":     float64(r.dials()),

			history.TimersLate: late().Seconds(),
		}
		if n%10 == 0 { // these cost more, and change less
			r.usage(v)
		}
		r.history.Sample(history.Sample{At: r.history.Since(), Value: v})
		if r.lab.config.Watch != nil {
			r.lab.config.Watch(r.status())
		}
	}
}

func (r *run) usage(v map[string]float64) {
	v["callers goroutines"] = float64(runtime.NumGoroutine())
	v["callers files"] = float64(openFiles())
	v["callers rss"] = rss(os.Getpid())
	for _, name := range r.names {
		if n := rss(r.servers[name].process().Pid()); n > 0 {
			v[name+" rss"] = n
		}
	}
}

// dials counts the connections that callers and servers have opened, or have tried to.
func (r *run) dials() int {
	n := r.line.Accepted()
	for _, s := range r.servers {
		n += s.line.Accepted()
	}
	return n
}

// rss is how many bytes of memory a process has; 0 where nobody tells.
func rss(pid int) float64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize())
}

func (r *run) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.load.calls
	return Status{
		Scenario: r.scenario.Name, Phase: r.phase, Elapsed: time.Since(r.start), Total: r.total,
		OK: int(c.OK.Load()), Rejected: int(c.Rejected.Load()), Failed: int(c.Failed.Load()), Ambiguous: int(c.Ambiguous.Load()),
		Faults: r.active.list(),
	}
}
