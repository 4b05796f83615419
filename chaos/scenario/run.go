package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const (
	accounts = 32
	opening  = 1000

	readyLimit = 30 * time.Second // for servers to serve
	warmUp     = time.Second
	recovery   = 5 * time.Second // unless the scenario says another
	lateness   = 100 * time.Millisecond

	// Retries are bounded by 10 % of the calls, and a reserve, which is much for a short run.
	amplification = 1.25

	// What is half-open at the end of the faults is noticed, what is claimed by the dead is free, after that.
	quiet = 3 * heartbeat

	minBackoff, maxBackoff = 50 * time.Millisecond, time.Second
)

// A Result is what came of a run.
type Result struct {
	Scenario Scenario
	Dir      string // with history.jsonl, a folder for each server, broker.log
	History  *history.History
	Verdicts []check.Verdict
}

// Err returns nil if all invariants hold, and the faults have had an effect.
func (r *Result) Err() error { return check.Sound(r.Verdicts) }

// Status is how a run goes.
type Status struct {
	Scenario, Phase                 string
	Elapsed, Total                  time.Duration
	OK, Rejected, Failed, Ambiguous int
	Faults                          []string // that are at work
}

// A run is one run of a scenario.
type run struct {
	lab      *Lab
	scenario Scenario
	dir      string
	service  string
	history  *history.Writer
	start    time.Time
	total    time.Duration

	databaseURL string
	logs        []log
	queues      map[string]int // of the broker when it was looked at last, with their messages
	names       []string       // of the servers
	servers     map[string]*server
	guests      *server      // callers in a process of their own; nil if there are none
	line        *chaos.Proxy // of the callers
	load        *load
	busy        locks
	active      names

	mu    sync.Mutex // guards what follows
	phase string
}

// Run runs a scenario: warm up, faults, quiesce, drain, check. The error tells that the run could not go on; what is
// broken is in the result.
func (l *Lab) Run(ctx context.Context, s Scenario) (*Result, error) {
	r := &run{
		lab: l, scenario: s, service: bank.Service + "-" + s.Name,
		servers: make(map[string]*server),
	}
	steps := s.Schedule(l.config.Seed, r.serverNames())
	err := s.Validate(l.config.Servers)
	if err == nil {
		err = l.move(ctx, s)
	}
	if err == nil {
		r.dir, err = makeDir(l.config.Dir, s.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", s.Name, err)
	}
	if r.history, err = history.Create(filepath.Join(r.dir, "history.jsonl"), r.about(steps)); err != nil {
		return nil, err
	}
	err = errors.Join(r.all(ctx, steps), r.deleteQueues(ctx))
	h, writing := r.history.Close()
	if err := errors.Join(err, writing); err != nil {
		return nil, fmt.Errorf("run %s: %w", s.Name, err)
	}
	return &Result{Scenario: s, Dir: r.dir, History: h, Verdicts: check.All(h)}, nil
}

// makeDir makes the folder of a run: the name, and a number if the scenario has been run before.
func makeDir(in, name string) (string, error) {
	dir := filepath.Join(in, name)
	for n := 2; ; n++ {
		if err := os.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
		dir = filepath.Join(in, fmt.Sprint(name, "-", n))
	}
}

// all does the phases, and ends what it has started.
func (r *run) all(ctx context.Context, steps []Step) (err error) {
	length := r.scenario.length()
	r.total = warmUp + length + quiet
	r.names = r.serverNames()
	r.logs = []log{newLog("broker.log", r.lab.node.Log()), newLog("postgres.log", r.lab.database.Log())}
	before := ownStock()
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.startServers(ctx); err != nil {
		return err
	}
	running, err := r.consumers(ctx)
	if err != nil {
		return err
	}
	supervised, stopSupervising := context.WithCancel(ctx)
	var supervisors sync.WaitGroup
	defer supervisors.Wait()
	defer stopSupervising()
	for _, s := range r.servers {
		supervisors.Go(func() {
			s.supervise(supervised, func(err error) {
				r.history.Finding(history.Finding{Kind: "crash", Where: s.name, Text: err.Error()})
			})
		})
	}
	maps.Copy(before, running)
	r.history.Inventory(history.Inventory{When: "baseline", Count: before, Messages: r.queues})
	if err := r.connected(ctx, steps, length); err != nil {
		return err
	}
	after, err := settled(ctx, before, func() (stock, error) { return r.brokerStock(ctx) })
	if err != nil {
		return err
	}
	stopSupervising()
	supervisors.Wait()
	if err := r.stopServers(ctx); err != nil {
		return err
	}
	own, _ := settled(ctx, before, func() (stock, error) { return ownStock(), nil })
	maps.Copy(after, own)
	r.history.Inventory(history.Inventory{When: "end", Count: after, Messages: r.queues})
	return r.scan()
}

// connected is all that happens while the callers have a connection.
func (r *run) connected(ctx context.Context, steps []Step, length time.Duration) error {
	m, err := conn.Open(ctx, r.line.URL(), conn.WithName("chaos callers"), conn.WithLogger(r.lab.config.Log),
		conn.WithHeartbeat(cmp.Or(r.scenario.Heartbeat, heartbeat)), conn.WithBackoff(minBackoff, maxBackoff))
	if err != nil {
		return err
	}
	defer r.hangUp(m)
	return r.loaded(ctx, m, steps, length)
}

// loaded is all that happens while there are callers, and what they find in the end.
func (r *run) loaded(ctx context.Context, m *conn.Manager, steps []Step, length time.Duration) (err error) {
	r.load, err = newLoad(m, callersName, &load{
		service: r.service, thinking: r.lab.config.Pace, history: r.history,
		timeout: r.timeout(), patient: r.scenario.MustBeOK, once: r.promise() == history.ExactlyOnce,
	})
	if err != nil {
		return err
	}
	r.start = time.Now()
	watching, stopWatching := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stopWatching()
	watchers.Go(func() { r.sessions(watching, m) })
	watchers.Go(func() { r.sample(watching) })
	if err := r.ready(ctx); err != nil {
		return err
	}
	if r.guests != nil {
		if err := r.guests.Start(ctx); err != nil {
			return err
		}
	}
	calling, stop := context.WithCancel(ctx)
	defer stop()
	var callers sync.WaitGroup
	for i := range r.lab.config.Callers {
		c := &caller{load: r.load, name: fmt.Sprint("caller-", i+1), random: rand.New(rand.NewPCG(r.lab.config.Seed, uint64(i+2)))}
		callers.Go(func() { c.run(ctx, calling) })
	}
	r.during("warm up", func() { wait(ctx, warmUp) })
	r.during("faults", func() { err = r.unleash(ctx, steps, length) })
	r.during("quiesce", func() { r.rest(ctx) })
	r.during("drain", func() {
		stop()
		err = errors.Join(err, r.drained(&callers, r.timeout()+drainSlack))
		if r.guests != nil {
			err = errors.Join(err, r.guests.drain(ctx), r.takeGuests())
		}
	})
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	r.during("check", func() { err = r.read(ctx) })
	return err
}

// drainSlack is how long after the last deadline a call is waited for.
const drainSlack = 15 * time.Second

// drained waits for the callers' last calls. One that does not end has no record, and would keep the run from its end too: the error
// names it.
func (r *run) drained(callers *sync.WaitGroup, limit time.Duration) error {
	done := make(chan struct{})
	go func() { // until the client is closed
		defer close(done)
		callers.Wait()
	}()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return fmt.Errorf("calls have not ended after %v, long beyond their deadlines: %s", limit, strings.Join(r.load.pending(), ", "))
	}
}

// rest gives everybody the time to come to rest, and callers that to make calls again: all may be waiting for a connection.
func (r *run) rest(ctx context.Context) {
	ok := r.load.calls.OK.Load()
	limit := time.Now().Add(quiet + cmp.Or(r.scenario.Recovery, recovery))
	wait(ctx, quiet)
	for r.load.calls.OK.Load() <= ok+int64(2*r.lab.config.Callers) && time.Now().Before(limit) {
		if !wait(ctx, sampleEvery) {
			return
		}
	}
}

// during is a phase.
func (r *run) during(phase string, do func()) {
	r.mu.Lock()
	r.phase = phase
	r.mu.Unlock()
	from := r.history.Since()
	do()
	r.history.Phase(history.Phase{Name: phase, From: from, To: r.history.Since()})
}

// startServers makes the database and the lines, and starts the servers.
func (r *run) startServers(ctx context.Context) (err error) {
	if r.databaseURL, err = r.lab.newDatabase(ctx); err != nil {
		return err
	}
	if r.line, err = chaos.NewProxy(r.lab.brokerURL()); err != nil {
		return err
	}
	for _, name := range r.names {
		s, err := r.newServer(name)
		if err != nil {
			return err
		}
		r.servers[name] = s
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	if r.scenario.Guests > 0 {
		if r.guests, err = r.newGuests(); err != nil {
			return err
		}
	}
	return nil
}

// stopServers ends the servers in good order, and their lines.
func (r *run) stopServers(ctx context.Context) error {
	for _, name := range r.names {
		if err := r.servers[name].drain(ctx); err != nil {
			r.history.Finding(history.Finding{Kind: "bad end", Where: name, Text: err.Error()})
		}
	}
	return r.close()
}

// close ends the servers and the lines. More calls do nothing.
func (r *run) close() error {
	var errs []error
	for _, s := range r.servers {
		errs = append(errs, s.close())
	}
	if r.guests != nil {
		errs = append(errs, r.guests.close())
	}
	if r.line != nil {
		r.line.Close()
	}
	return errors.Join(errs...)
}

// deleteQueues takes away what the servers have declared, if it is there, even if the run was interrupted.
func (r *run) deleteQueues(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	var errs []error
	for name := range r.queues {
		if strings.HasPrefix(name, r.queue()) && !strings.HasPrefix(name, r.queue()+".instance.") { // those went with their servers
			errs = append(errs, r.lab.node.DeleteQueue(ctx, name))
		}
	}
	return errors.Join(errs...)
}

// hangUp ends the callers' client and connection.
func (r *run) hangUp(m *conn.Manager) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*heartbeat)
	defer cancel()
	if r.load != nil {
		r.load.close(ctx)
	}
	_ = m.Close(ctx) // the inventory shows what is left
}
