package execrpc

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A pool keeps a number of workers running, and gives each request to one that is free.
type pool struct {
	u    *Upstream
	jobs chan *job
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
	p := &pool{u: u, jobs: make(chan *job)}
	for range u.cfg.Pool {
		u.running.Go(p.keep)
	}
	return p
}

func (p *pool) handle(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	j := &job{ctx, r, make(chan result, 1)}
	select {
	case p.jobs <- j:
	case <-ctx.Done():
		return nil, notStarted(ctx.Err())
	}
	done := <-j.result // soon after ctx ends, too
	return done.reply, done.err
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
			answered := false
			answered, err = p.serve(w)
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
