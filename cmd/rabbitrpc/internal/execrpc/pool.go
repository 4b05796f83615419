package execrpc

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A pool keeps a number of workers running, and gives each request to one that is free.
type pool struct {
	u    *Upstream
	jobs chan *job

	mu    sync.Mutex // guards what follows
	alive int        // workers
	since time.Time  // when none is: the last that has answered ended
}

// A job is a request on its way to a worker.
type job struct {
	ctx    context.Context
	r      *rpc.Request
	result chan result // buffered 1
}

type result struct {
	reply *rpc.Reply
	err   error
}

func newPool(u *Upstream) *pool {
	p := &pool{u: u, jobs: make(chan *job), since: time.Now()}
	for range u.cfg.Pool {
		u.running.Go(p.keep)
	}
	return p
}

func (p *pool) handle(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	j := &job{ctx, r, make(chan result, 1)}
	for {
		select {
		case p.jobs <- j:
			done := <-j.result // soon after ctx ends, too
			return done.reply, done.err
		case <-time.After(p.patience()):
			if p.patience() <= 0 {
				return nil, rpc.Errorf(rpc.Unavailable, "no worker runs").WithExecuted(rpc.ExecutedNo)
			}
		case <-ctx.Done():
			return nil, notStarted(ctx.Err())
		}
	}
}

// deadAfter is how long calls wait for a worker while none runs. Then others may take them.
const deadAfter = time.Second

// patience is how long a call may wait until it looks again whether a worker runs; 0 or less if none has for long.
func (p *pool) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive > 0 {
		return deadAfter
	}
	return deadAfter - time.Since(p.since)
}

func (p *pool) started() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive++
}

// ended counts a worker out. One that has not answered makes no difference: those that come after it are no better.
func (p *pool) ended(answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive--; answered {
		p.since = time.Now()
	}
}

const (
	firstPause = 100 * time.Millisecond // before a worker that failed is replaced
	lastPause  = 10 * time.Second
)

// keep starts a worker, and another when that fails, until Close. Workers that fail one after the other without
// an answer are replaced ever more slowly.
func (p *pool) keep() {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstPause), backoff.WithMaxInterval(lastPause),
		backoff.WithMaxElapsedTime(0))
	for p.u.life.Err() == nil {
		w, err := p.u.startWorker()
		if err == nil {
			p.started()
			answered := false
			answered, err = p.serve(w)
			p.ended(answered)
			w.stop(p.u.cfg.Grace)
			if answered {
				pause.Reset()
			}
		}
		if p.u.life.Err() != nil {
			return
		}
		wait := pause.NextBackOff()
		p.u.log.Warn("worker is replaced", "cause", err, "in", wait)
		select {
		case <-time.After(wait):
		case <-p.u.life.Done():
		}
	}
}

// serve gives a worker one request after the other, and returns why it can have no more.
func (p *pool) serve(w *worker) (answered bool, broken error) {
	for {
		j, broken := w.idle(p.u.life, p.jobs)
		if broken != nil {
			return answered, broken
		}
		reply, err, broken := w.exchange(j.ctx, p.u, j.r)
		j.result <- result{reply, err}
		if broken != nil {
			return answered, broken
		}
		answered = true
	}
}
