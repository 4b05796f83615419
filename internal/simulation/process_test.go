package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// heartbeats is how long the broker waits for a process that says nothing.
const heartbeats = time.Second

// A process is one life of a server process. What it does at a point of its code passes hit.
type process struct {
	w    *world
	i    int
	name string // with the number of the life
	conn *conntest.Connector
	stop func()

	server *server.Server

	mu     sync.Mutex          // guards what follows
	dead   bool                // crashed: it has no more effect on anything
	since  time.Time           // it is dead or frozen
	awake  chan struct{}       // closed when it is not frozen any more; nil if it is not
	armed  map[string]*trigger // by point
	failed bool                // the store fails

	replaced bool // by its next life
}

// A trigger does something to a process when it passes a point for the n-th time.
type trigger struct {
	n  int
	do func()
}

var errDead = errors.New("the process is dead")

// start starts the next life of server i.
func (w *world) start(i int) {
	w.mu.Lock()
	w.lives[i]++
	name := fmt.Sprintf("server %d, life %d", i, w.lives[i])
	w.mu.Unlock()
	p := &process{w: w, i: i, name: name, conn: w.broker.Connector(name), armed: make(map[string]*trigger)}
	opts := []server.Option{
		server.WithWorkers(w.plan.workers), server.WithName(name), server.WithLogger(w.log),
		server.WithLimits(server.Limits{Body: serverBody}), server.WithStore(p.store()), server.WithDrain(2 * retention),
	}
	s, err := server.New(w.watch(p.conn), "bank", opts...)
	if err != nil {
		panic(err)
	}
	p.server = s
	server.Handle(s, transfer, p.handle)
	server.Handle(s, read, p.handle)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx); err != nil && !p.gone() {
			w.violate("I10: %s: run: %v", p.name, err)
		}
		w.count("replies replayed", s.Stats().Replayed)
		w.count("requests expired", s.Stats().Expired)
	}()
	p.stop = func() { cancel(); <-ended }
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, p)
	w.servers[i] = p
}

func (p *process) store() idempotency.Store {
	switch p.w.plan.memory {
	case none:
		return nil
	case lru:
		l, err := idempotency.NewLRU()
		if err != nil {
			panic(err)
		}
		return &gated{p, l}
	}
	return &gated{p, p.w.shared.of(p)}
}

func (p *process) lastSign() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || p.awake != nil {
		return p.since
	}
	return time.Now()
}

func (p *process) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// arm orders what is to happen at a point.
func (p *process) arm(point string, n int, do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed[point] = &trigger{n, do}
}

func (p *process) disarm() {
	p.conn.Disarm()
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.armed)
	p.failed = false
}

// hit passes a point: it waits for as long as the process is frozen, and fails if it is dead.
func (p *process) hit(point string) error {
	p.mu.Lock()
	t := p.armed[point]
	if t != nil {
		if t.n--; t.n > 0 {
			t = nil
		} else {
			delete(p.armed, point)
		}
	}
	p.mu.Unlock()
	if t != nil {
		p.w.note("%s: %s", p.name, point)
		t.do()
	}
	for {
		p.mu.Lock()
		awake, dead := p.awake, p.dead
		p.mu.Unlock()
		switch {
		case dead:
			return errDead
		case awake == nil:
			return nil
		}
		<-awake
	}
}

// crash ends the process: what it has in memory is gone, and what its goroutines still do reaches nobody.
func (p *process) crash() {
	p.mu.Lock()
	if !p.dead && p.awake == nil {
		p.since = time.Now()
	}
	p.dead = true
	p.mu.Unlock()
	p.thaw()
	p.conn.Close(over)
}

// over is a context for what is not to be waited for.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// freeze stops the process for d. It goes on as one that the broker, and others, take for dead.
func (p *process) freeze(d time.Duration) {
	p.mu.Lock()
	if p.dead || p.awake != nil {
		p.mu.Unlock()
		return
	}
	p.awake, p.since = make(chan struct{}), time.Now()
	p.mu.Unlock()
	p.conn.Freeze()
	p.w.later.Go(func() {
		time.Sleep(min(d, heartbeats))
		if d > heartbeats {
			p.conn.Lose()
			time.Sleep(d - heartbeats)
		}
		p.thaw()
	})
}

func (p *process) thaw() {
	p.mu.Lock()
	if p.awake != nil {
		close(p.awake)
		p.awake = nil
	}
	p.mu.Unlock()
	p.conn.Thaw()
}

func (p *process) failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *process) fail(failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = failed
}

// handle is the handler of all methods. What it does depends on the call, on the attempt, and on how often it was run before. A
// request that comes back finds it in a better mood: what was refused may be executed then.
func (p *process) handle(ctx context.Context, pay payment) (receipt, error) {
	r := rpc.RequestOf(ctx)
	x, before := p.w.bank.start(ctx, r, pay, p.name)
	random := rand.New(rand.NewPCG(p.w.plan.seed, uint64(pay.N)<<8|uint64(before)))
	does := rand.New(rand.NewPCG(p.w.plan.seed, uint64(pay.N)<<8|uint64(r.Attempt))).IntN(100) // the same for duplicates
	if p.w.healed.Load() || p.w.plan.lenient && r.Redelivered {
		does = 99
	}
	p.work(random)
	if err := p.hit("handler"); err != nil {
		return receipt{}, err
	}
	switch {
	case does < p.w.plan.refuses && r.Attempt < 4 && !r.Redelivered, before > 0 && does < 50 && !x.read && r.Attempt < 4:
		return receipt{}, rpc.Errorf(rpc.Aborted, "not now").WithExecuted(rpc.ExecutedNo)
	case does >= p.w.plan.refuses && does < p.w.plan.refuses+3:
		return receipt{}, errors.New("password " + secretOfServer)
	case does >= p.w.plan.refuses && does < p.w.plan.refuses+5:
		panic("handler: " + secretOfServer)
	}
	answer := receipt{N: pay.N, ID: r.ID, Client: r.Client, User: r.User, Run: x.n, Life: p.name}
	var err error
	switch t := transactionOf(ctx); {
	case x.read:
		answer.Balances = p.w.bank.read()
	case t != nil:
		err = t.transfer(x)
	default:
		err = p.w.bank.transfer(x)
	}
	if err != nil {
		return receipt{}, err
	}
	p.work(random)
	if err := p.hit("effect"); err != nil {
		return receipt{}, err
	}
	if does >= p.w.plan.refuses && does < p.w.plan.refuses+8 {
		return receipt{}, errors.New("password " + secretOfServer)
	}
	return answer, nil
}

// work takes time, mostly little.
func (p *process) work(random *rand.Rand) {
	switch n := random.IntN(20); {
	case n == 0:
		time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
	case n < 10:
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
	}
}

// A gated store is that of a process: it may be frozen, dead, or cut off from it.
type gated struct {
	p     *process
	store idempotency.Store
}

var errStore = errors.New("the store cannot be reached: " + secretOfServer)

// pass passes a point on the way to or from the store, which takes a moment.
func (g *gated) pass(point string) error {
	if g.p.w.plan.slowStore {
		time.Sleep(2 * time.Millisecond)
	}
	return g.p.hit(point)
}

func (g *gated) Begin(ctx context.Context, key idempotency.Key, f idempotency.Fingerprint) (idempotency.Begun, error) {
	if err := ctx.Err(); err != nil {
		return idempotency.Begun{}, err
	}
	if err := g.pass("begin"); err != nil {
		return idempotency.Begun{}, err
	}
	if g.p.failing() {
		return idempotency.Begun{}, errStore
	}
	begun, err := g.store.Begin(ctx, key, f)
	if err != nil {
		return begun, err
	}
	return begun, g.pass("begun")
}

func (g *gated) Complete(ctx context.Context, token idempotency.Token, record *idempotency.Record) error {
	if err := g.pass("complete"); err != nil {
		return err
	}
	shared, fails := g.store.(*sharedBy)
	fails = fails && g.p.failing()
	if fails && token.Fence%2 == 0 { // the outcome does not get there
		shared.forsake(token)
		return errStore
	}
	err := g.store.Complete(ctx, token, record)
	if err != nil {
		return err
	}
	if fails { // it does, and nobody knows
		return errStore
	}
	return g.pass("completed")
}

func (g *gated) Abandon(ctx context.Context, token idempotency.Token) error {
	if err := g.pass("abandon"); err != nil {
		return err
	}
	return g.store.Abandon(ctx, token)
}
