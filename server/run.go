package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/deadline"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// refusedWait is how long a server waits, on average, when the broker refuses what it needs.
const refusedWait = 2 * time.Second

// declareEvery is how often a server makes sure that its exchange and binding are there.
const declareEvery = 5 * time.Second

// cancelTimeout bounds the wait for the end of a consumer.
const cancelTimeout = 5 * time.Second

// A job is a request on its way to a worker, with the session it must be answered in.
type job struct {
	outlet
	delivery *conn.Delivery
	source   *wire.Source
	received time.Time
	next     *job            // in the intake
	keep     bool            // it could not be parked: the broker is to keep it
	stop     <-chan struct{} // closed when handlers are to stop
	waited   time.Duration   // for a worker
	executed atomic.Bool     // a handler was called
	handled  atomic.Int64    // nanoseconds in it, if a hook wants to know

	// Since a worker has it:

	call     wire.Call
	ctx      requestContext
	deadline time.Time
	running  deadline.Context
	reply    conn.Message  // that answers it, unless an error does
	answer   *conn.Message // what the broker has not confirmed yet; guarded by unconfirmed.mu
}

// Run serves until ctx ends, through any number of sessions. Then it drains: it takes no more requests, gives back those
// that have not started, and lets running handlers end within the drain limit. When it returns nil their replies are
// confirmed, and their acknowledgements are with the session, whose Close has them written. It returns an error for what more
// tries cannot change: no methods, or a queue that exists with other arguments; and when handlers outlast the drain limit. It
// can be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("server: Run was called before")
	}
	if len(s.methods) == 0 {
		return errors.New("server: no method is registered")
	}
	if s.opts.queue != "" && s.opts.method != "" && s.methods[s.opts.method] == nil {
		return fmt.Errorf("server: method %s, for messages that name none, is not registered", s.opts.method)
	}
	handling, stop := context.WithCancel(context.WithoutCancel(ctx)) // handlers outlive ctx by the drain limit
	defer stop()
	defer s.direct.close()
	defer s.strays.close()
	jobs := new(intake)
	var workers sync.WaitGroup
	for range s.opts.workers {
		workers.Go(func() { s.work(handling, jobs, &workers) })
	}
	shown, hide := context.WithCancel(handling) // while it drains, too
	var discovery sync.WaitGroup
	discovery.Go(func() { s.beDiscovered(shown) })
	defer discovery.Wait()
	defer hide()
	err := s.serve(ctx, jobs)
	s.enter(Draining, nil)
	defer s.enter(Stopped, nil)
	close(s.last)
	giveBack(jobs.close())
	return errors.Join(err, s.drain(&workers, stop))
}

// work answers requests until the last. Another worker takes its place if a handler ends the goroutine.
func (s *Server) work(ctx context.Context, jobs *intake, workers *sync.WaitGroup) {
	done := false
	defer func() {
		if !done {
			workers.Go(func() { s.work(ctx, jobs, workers) })
		}
	}()
	w := make(worker, 1)
	for j := jobs.take(w); j != nil; j = jobs.take(w) {
		s.answer(ctx, j)
	}
	done = true
}

// giveBack has the broker deliver requests to others. Those of a session that is over it has already.
func giveBack(jobs []*job) {
	for _, j := range jobs {
		j.delivery.Nack(true)
	}
}

// giveBackSome is giveBack of those for which there is no worker, but for what a quorum queue has delivered so often that it would soon
// pass for a request that kills servers, though none has started it. That waits for a worker here.
func (s *Server) giveBackSome(jobs *intake) {
	limit := s.opts.startLimit()
	for _, j := range jobs.empty() {
		worn := s.opts.quorum > 0 && limit > 0 && wire.DeliveryCount(&j.delivery.Message)+2 >= limit
		if !worn || !jobs.put(j) {
			j.delivery.Nack(true)
		}
	}
}

// drain waits for the workers, and the acknowledgements of what they have answered, up to the limit.
func (s *Server) drain(workers *sync.WaitGroup, stop context.CancelFunc) error {
	ended := make(chan struct{})
	last := s.outlets.get()
	go func() {
		defer close(ended)
		workers.Wait()
		s.direct.untried.trials.Wait()
		last.unconfirmed.drain()
		s.resending.Wait()
		last.close()
	}()
	limit := time.NewTimer(s.opts.drain)
	defer limit.Stop()
	select {
	case <-ended:
		return nil
	case <-limit.C:
	}
	late := s.answering.Load() + last.unconfirmed.unacknowledged() + s.direct.untried.unsettled()
	stop()
	limit.Reset(time.Second) // for those that respect their context
	select {
	case <-ended:
	case <-limit.C:
	}
	if late == 0 {
		return nil
	}
	return fmt.Errorf("drain: %d requests were not answered within %v", late, s.opts.drain)
}

// serve goes from session to session until ctx ends or there is an error for good.
func (s *Server) serve(ctx context.Context, jobs *intake) error {
	var last outlet // where refused, the same is used again
	for {
		session, err := s.conn.Session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err // the connector is closed
		}
		if session != last.session {
			last, err = s.openOutlet(ctx, session, last)
		}
		if err == nil {
			err = s.serveSession(ctx, last, jobs)
		}
		if ctx.Err() != nil {
			return nil
		}
		s.enter(Waiting, err)
		switch {
		case session.Err() != nil && s.opts.failFast && takenAway(session.Err()):
			return session.Err()
		case session.Err() != nil: // whatever the reason, the next one may be better
			giveBack(jobs.empty())
			s.largest.learn(session.Err())
			s.unreadable(ctx, session.Err())
			s.misnamed(ctx, session.Err())
		case errors.Is(err, conn.ErrPrecondition):
			return fmt.Errorf("%w; delete the queue, or serve it with the arguments that it has", err)
		default:
			s.opts.log.Error("cannot serve", "service", s.service, "err", err)
			sleep(ctx, refusedWait/2+rand.N(refusedWait))
		}
	}
}

// openOutlet opens the outlet of a session that follows that of last.
func (s *Server) openOutlet(ctx context.Context, session conn.Session, last outlet) (outlet, error) {
	publisher, err := session.OpenPublisher(ctx, s.onReturn)
	if err != nil {
		return last, err
	}
	o := outlet{session, publisher, newUnconfirmed(session, s.ack)}
	s.outlets.set(o)
	if last.session != nil {
		if lost := last.unconfirmed.close(); len(lost) > 0 {
			s.resending.Go(func() { s.resend(lost) }) // there may be an alarm
		}
	}
	return o, nil
}

// takenAway reports whether a session has ended for something that the broker took from it, and not with its connection.
func takenAway(err error) bool {
	return errors.Is(err, conn.ErrCancelled) || errors.Is(err, conn.ErrPrecondition) || errors.Is(err, conn.ErrRefused) ||
		errors.Is(err, conn.ErrNotFound)
}

// serveSession serves in one session until that, or ctx, ends.
func (s *Server) serveSession(ctx context.Context, o outlet, jobs *intake) error {
	session := o.session
	refused, err := s.declare(ctx, session)
	if err != nil {
		return err
	}
	if refused != nil {
		s.opts.log.Info("this server may not declare what it needs, and relies on others for it", "service", s.service, "err", refused)
	}
	if s.opts.parks() {
		if err := s.declareParked(ctx, session); err != nil && session.Err() == nil {
			s.opts.log.Error("requests that kill servers cannot be parked", "service", s.service, "err", err)
		}
	}
	sources := s.sources()
	again := time.NewTicker(declareEvery)
	defer again.Stop()
	if refused != nil { // each refusal is in the broker's log, too
		again.Stop()
	}
	for {
		paused, changed := s.gate.state()
		var consumers []conn.Consumer
		if paused {
			s.enter(Paused, nil)
		} else {
			consumers, err = s.consume(ctx, o, sources, jobs)
			if err = undeclared(err, refused); err == nil {
				s.opts.log.Info("serving", "service", s.service, "workers", s.opts.workers)
				s.enter(Serving, nil)
				s.readyOnce.Do(func() { close(s.ready) })
			}
		}
		if err == nil {
			err = s.stay(ctx, session, again.C, changed)
		}
		s.leave(ctx, err) // first: to end a consumer may take a while
		for _, c := range consumers {
			s.cancel(c)
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
		if !paused {
			s.giveBackSome(jobs)
			s.opts.log.Info("paused", "service", s.service)
		}
	}
}

// consume starts a consumer for each source. With an error it returns those that were started.
func (s *Server) consume(ctx context.Context, o outlet, sources map[string]*wire.Source, jobs *intake) (consumers []conn.Consumer, err error) {
	bulk := &bulk{session: o.session, idle: func() bool { return s.idle(o) }}
	for queue, source := range sources {
		consume := conn.Consume{Queue: queue, Prefetch: s.opts.workers, Prompt: true, MaxBody: source.Limits.Body}
		c, err := o.session.Consume(ctx, consume, func(d *conn.Delivery) {
			j := &job{outlet: o, delivery: d, source: source, received: time.Now()}
			bulk.arrived(d, j.received)
			if !jobs.put(j) {
				d.Nack(true) // the consumer was slow to end, and no worker is left
			}
		})
		if err != nil {
			return consumers, err
		}
		consumers = append(consumers, c)
	}
	return consumers, nil
}

// stay waits for the end of ctx or the session, or for a change of the gate, and returns nil for that and for ctx.
func (s *Server) stay(ctx context.Context, session conn.Session, again <-chan time.Time, changed <-chan struct{}) error {
	for {
		select {
		case <-again: // what somebody has deleted would be missed by callers only
			if _, err := s.declare(ctx, session); err != nil {
				return err
			}
		case <-changed:
			return nil
		case <-ctx.Done():
			return nil
		case <-session.Done():
			return session.Err()
		}
	}
}

// cancel ends a consumer; workers go on with what it hands over until then.
func (s *Server) cancel(c conn.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	if err := c.Cancel(ctx); err != nil && !errors.Is(err, conn.ErrClosed) {
		s.opts.log.Warn("consumer did not end", "service", s.service, "err", err)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
