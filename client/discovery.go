package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A Question is what a [Discovery] asks instances.
type Question string

// The questions.
const (
	AskPing  Question = wire.Ping  // who is there?
	AskInfo  Question = wire.Info  // what does not change while you run?
	AskStats Question = wire.Stats // what have you counted?
)

// An Answer is what an instance said.
type Answer struct {
	rpc.Instance
	Took time.Duration // from the question to the answer
}

// DefaultQuiet is how long a [Discovery] waits for one more answer.
const DefaultQuiet = 500 * time.Millisecond

const (
	maxInstances = 10_000 // that answer one question; more are not looked at
	maxQuiets    = 10     // that a question is waited for, with answers all the time
)

// A Discovery asks the running instances of services who they are. Make it with [NewDiscovery]. It has a session of its own,
// opened when it is needed: a broker that denies it something ends that, and no session that calls depend on.
type Discovery struct {
	conn conn.Connector
	life context.Context // ends with Close
	end  context.CancelFunc

	turn    *semaphore.Weighted // of 1: guards what follows, and is held while dialing, since those who wait need the result
	current *ear
	closed  bool
}

// NewDiscovery makes a discovery that dials with c. It does no I/O.
func NewDiscovery(c conn.Connector) *Discovery {
	d := &Discovery{conn: c, turn: semaphore.NewWeighted(1)}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// Instances asks the instances of a service, "" for those of all services, and yields each that answers, as it does so. That
// ends when none has answered for so long as quiet says, [DefaultQuiet] for 0, after ten times that, or with ctx. An instance that answers
// twice is yielded once.
//
// No instance is no error. An error ends the sequence: there is no connection, the broker lets this user not ask
// ([conn.ErrRefused]), or takes no messages for now ([conn.ErrBlocked]). Who does not answer need not be down: older servers,
// those made with server.WithoutDiscovery, and those without the right to a queue for questions do not.
func (d *Discovery) Instances(ctx context.Context, service string, q Question, quiet time.Duration) iter.Seq2[Answer, error] {
	return func(yield func(Answer, error) bool) {
		if quiet <= 0 {
			quiet = DefaultQuiet
		}
		if service != "" {
			if err := wire.CheckService(service); err != nil {
				yield(Answer{}, err)
				return
			}
		}
		if err := d.ask(ctx, service, q, quiet, func(a Answer) bool { return yield(a, nil) }); err != nil {
			yield(Answer{}, err)
		}
	}
}

// ask returns nil after the last answer that take wants.
func (d *Discovery) ask(ctx context.Context, service string, q Question, quiet time.Duration, take func(Answer) bool) error {
	e, err := d.listen(ctx)
	if err != nil {
		return fmt.Errorf("ask instances: %w", err)
	}
	id := uuid.NewString()
	answers := e.add(id)
	defer e.remove(id)
	start := time.Now()
	err = e.publisher.Publish(wire.EncodeQuestion(string(q), service, id, e.replyTo, quiet), nil)
	if err != nil && !conn.NotSent(err) { // a write has failed, which ends the session: that knows why
		<-e.session.Done()
		err = e.session.Err()
	}
	if err != nil {
		return fmt.Errorf("ask instances: %w", err)
	}
	silence := time.NewTimer(quiet)
	defer silence.Stop()
	// Anybody can answer as a new instance, again and again.
	ctx, cancel := context.WithTimeout(ctx, maxQuiets*min(quiet, math.MaxInt64/maxQuiets))
	defer cancel()
	for seen := make(map[string]bool); len(seen) < maxInstances; {
		select {
		case a := <-answers:
			if a.instance == nil {
				return nil // the question came back: nobody is there
			}
			if i := a.instance; !seen[i.ID] && (service == "" || i.Service == service) {
				seen[i.ID] = true
				silence.Reset(quiet)
				if !take(Answer{*i, a.at.Sub(start)}) {
					return nil
				}
			}
		case <-silence.C:
			return e.silent(len(seen))
		case <-ctx.Done():
			return e.silent(len(seen))
		case <-e.session.Done():
			return fmt.Errorf("ask instances: %w: %w", conn.ErrClosed, e.session.Err())
		}
	}
	return nil
}

// QueueState is what the broker says of the queue of a service, which tells of servers that do not answer, too.
type QueueState struct {
	Messages  int // that wait for a server
	Consumers int // servers that take calls
}

// Queue looks at the queue of a service. The error is [conn.ErrNotFound] if there is none: no server was ever there; and
// [conn.ErrRefused] if this user may not look, see docs/operations.md.
func (d *Discovery) Queue(ctx context.Context, service string) (QueueState, error) {
	if err := wire.CheckService(service); err != nil {
		return QueueState{}, err
	}
	e, err := d.listen(ctx)
	if err != nil {
		return QueueState{}, fmt.Errorf("look at queue: %w", err)
	}
	info, err := e.session.InspectQueue(ctx, wire.Queue(service))
	return QueueState{Messages: info.Messages, Consumers: info.Consumers}, err
}

// Close ends the session, if there is one, or the dial; without good manners if ctx has ended.
func (d *Discovery) Close(ctx context.Context) error {
	d.end()
	if !d.turn.TryAcquire(1) {
		if err := d.turn.Acquire(ctx, 1); err != nil {
			return fmt.Errorf("close discovery: %w", err)
		}
	}
	defer d.turn.Release(1)
	d.closed = true
	if d.current == nil {
		return nil
	}
	return d.current.session.Close(ctx)
}

// listen returns where answers come in.
func (d *Discovery) listen(ctx context.Context) (*ear, error) {
	if err := d.turn.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("%w: %w", conn.ErrNotConnected, err)
	}
	if d.closed {
		d.turn.Release(1)
		return nil, errors.New("discovery is closed")
	}
	if d.current != nil && d.current.session.Err() == nil {
		defer d.turn.Release(1)
		return d.current, nil
	}
	opened := make(chan opening, 1)
	go func() { // for all who ask: the first may have less time than a dial takes, and so the next
		defer d.turn.Release(1)
		e, err := d.open(d.life)
		opened <- opening{e, err}
	}()
	select {
	case o := <-opened:
		return o.ear, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", conn.ErrNotConnected, ctx.Err())
	}
}

// An opening is how a dial has ended.
type opening struct {
	ear *ear
	err error
}

// open is called by who has the turn.
func (d *Discovery) open(ctx context.Context) (*ear, error) {
	session, err := d.conn.Dial(ctx)
	if err != nil {
		return nil, err
	}
	e := &ear{session: session, asked: make(map[string]chan heard)}
	if err := e.open(ctx); err != nil {
		session.Close(ctx)
		return nil, err
	}
	d.current = e
	return e, nil
}
