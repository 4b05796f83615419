package conntest

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A Broker keeps exchanges and queues, and moves messages. Make it with [NewBroker].
type Broker struct {
	wg sync.WaitGroup // the goroutines of all sessions

	mu        sync.Mutex // guards what follows, and the state of all connectors, sessions, consumers and queues
	up        chan struct{}
	down      bool
	blocked   bool
	closed    bool
	sessions  []*session // the live ones, oldest first
	exchanges map[string]*exchange
	queues    []*queue // oldest first
}

// NewBroker starts an empty broker.
func NewBroker() *Broker {
	b := &Broker{up: make(chan struct{}), exchanges: predeclared()}
	close(b.up)
	return b
}

// Connector adds a process that talks to the broker. Its name is for people to read.
func (b *Broker) Connector(name string, opts ...Option) *Connector {
	c := &Connector{b: b, name: name, user: "guest"}
	for _, opt := range opts {
		opt(c)
	}
	return c
}

// Close ends all sessions and waits for the callbacks that run. There will be no more sessions.
func (b *Broker) Close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		if b.down {
			close(b.up) // whoever waits for it learns that it is closed
		}
		b.shut("broker is closed")
		for len(b.queues) > 0 {
			b.queues[0].delete()
		}
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// Stop shuts the broker down, as for a restart: all sessions end, and there are no new ones until [Broker.Start]. Only
// what is durable remains: durable exchanges, durable queues, and the persistent messages in them.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down || b.closed {
		return
	}
	b.up = make(chan struct{})
	b.shut("CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
	for name, x := range b.exchanges {
		if !x.Durable {
			delete(b.exchanges, name)
		}
	}
	for _, q := range slices.Clone(b.queues) {
		if q.Durable {
			q.restart()
		} else {
			q.delete()
		}
	}
}

// Start ends what [Broker.Stop] began.
func (b *Broker) Start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.down || b.closed {
		return
	}
	b.down = false
	close(b.up)
	for _, q := range slices.Clone(b.queues) {
		q.run()
	}
}

func (b *Broker) shut(reason string) {
	b.down = true
	endAll(slices.Clone(b.sessions), &conn.Error{Code: 320, Reason: reason})
}

// Block raises an alarm: no session can publish until [Broker.Unblock]. Consuming and acknowledging go on.
func (b *Broker) Block() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.blocked {
		b.blocked = true
		for _, s := range b.sessions {
			s.blocked = make(chan struct{})
		}
	}
}

// Unblock ends the alarm that [Broker.Block] raised.
func (b *Broker) Unblock() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocked = false
	for _, s := range b.sessions {
		s.unblock()
	}
}

// QueueState is what [Broker.Queue] shows of a queue.
type QueueState struct {
	Name      string
	Ready     int // messages that wait for a consumer
	Unacked   int // messages that consumers have, and have not settled
	Consumers int
}

// Queue shows the state of a queue, or false if there is none.
func (b *Broker) Queue(name string) (QueueState, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(name)
	if q == nil {
		return QueueState{}, false
	}
	return q.state(), true
}

// Queues shows the state of all queues, sorted by name.
func (b *Broker) Queues() []QueueState {
	b.mu.Lock()
	defer b.mu.Unlock()
	var states []QueueState
	for _, q := range b.queues {
		states = append(states, q.state())
	}
	slices.SortFunc(states, func(x, y QueueState) int { return strings.Compare(x.Name, y.Name) })
	return states
}

func (b *Broker) queue(name string) *queue {
	for _, q := range b.queues {
		if q.Name == name {
			return q
		}
	}
	return nil
}

// usable finds a queue that s may use.
func (b *Broker) usable(name string, s *session) (*queue, error) {
	q := b.queue(name)
	if q == nil {
		return nil, &conn.Error{Code: 404, Reason: fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", name)}
	}
	if q.owner != nil && q.owner != s {
		return nil, locked(name)
	}
	return q, nil
}

func locked(name string) error {
	return &conn.Error{Code: 405, Reason: fmt.Sprintf("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'", name)}
}
