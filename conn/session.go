package conn

import (
	"context"
	"time"
)

// A Connector hands out sessions. [*Manager] is the one for a real broker, conntest.Connector the one for tests.
type Connector interface {
	// Session returns the live session that all users of this connector share. While there is none it waits, until
	// ctx ends: the error is then [ErrNotConnected], with the last reason why.
	Session(ctx context.Context) (Session, error)

	Dialer

	// Elsewhere returns a dialer for each address of the broker but that of the live session: the other nodes of a cluster. They can
	// be compared. There are none if the connector knows one address only.
	Elsewhere() []Dialer
}

// A Dialer opens sessions of one's own.
type Dialer interface {
	// Dial opens a session that belongs to the caller alone, who closes it. Nobody replaces it when it dies.
	Dial(ctx context.Context) (Session, error)
}

// A Session is one life of a connection with the broker. It is never repaired: when any part of it fails (a connection,
// a channel, a consumer cancelled by the broker) it dies whole, Done is closed, and Err tells the cause.
// All methods are safe for concurrent use and return within their timeouts, whatever the network does.
type Session interface {
	// OpenPublisher opens a publisher. onReturn, which may be nil, receives each mandatory message that found no queue,
	// before its confirmation if it has one. It runs on the session's own goroutine and must not block.
	OpenPublisher(ctx context.Context, onReturn func(*Return)) (Publisher, error)

	// Consume starts a consumer. handle receives its deliveries one after the other, in order, on the consumer's own
	// goroutine; while it blocks, only this consumer waits.
	Consume(ctx context.Context, c Consume, handle func(*Delivery)) (Consumer, error)

	// DeclareExchange makes sure that e exists. ErrPrecondition: it exists with other properties.
	DeclareExchange(ctx context.Context, e Exchange) error

	// DeclareQueue makes sure that q exists; an empty name asks the broker for a name. ErrPrecondition: it exists with
	// other properties. ErrLocked: it is another connection's own.
	DeclareQueue(ctx context.Context, q Queue) (QueueInfo, error)

	// InspectQueue reads the state of a queue without changing it. ErrNotFound: there is none. ErrLocked: it is another
	// connection's own. ErrRefused: the user may not look (RabbitMQ 4.3 asks for the configure right).
	InspectQueue(ctx context.Context, name string) (QueueInfo, error)

	// BindQueue routes messages that are published to exchange with key to queue as well.
	BindQueue(ctx context.Context, queue, exchange, key string) error

	// DeleteExchange deletes an exchange with its bindings. No exchange of that name is no error.
	DeleteExchange(ctx context.Context, name string) error

	// DeleteQueue deletes a queue with all that is in it. No queue of that name is no error.
	DeleteQueue(ctx context.Context, name string) error

	// Blocked returns nil while the broker takes messages; else a channel that is closed when it does so again, or when
	// the session ends. A memory or disk alarm of the broker blocks publishing, and so does a network that is slower than those
	// who publish; consuming and acknowledging go on.
	Blocked() <-chan struct{}

	// Gather has what comes wait so long for more, until a time that each call sets anew: to be woken for much at once takes less of the
	// processor than piece by piece. It is for those with so many messages under way that each of them waits for longer anyway; all
	// users of the session wait. A session may know nothing of it.
	Gather(wait time.Duration, until time.Time)

	// Done is closed when the session is over.
	Done() <-chan struct{}

	// Err is nil while the session lives, then the one cause of its end: ErrClosed if that was Close.
	Err() error

	// Close ends the session: what was written reaches the broker, and the sockets are closed by the time ctx ends at the
	// latest. The error is nil if the broker has confirmed, or if the session was over before.
	Close(ctx context.Context) error
}

// A Publisher publishes on channels of its own.
type Publisher interface {
	// Publish sends m to the broker. It does not wait for a slow network: it leaves m to be written, or, while a mebibyte waits
	// for that already, fails with [ErrBlocked]. If confirmed is not nil, it is called once with the broker's verdict: true, the
	// broker has taken the message (or returned it: then onReturn came first); false, it has refused it. It is never
	// called for a session that died. It runs on the session's own goroutine and must not block.
	//
	// An error for which [NotSent] holds is definite: the broker will never see m. After any other error, and after nil
	// without a confirmation, it may or may not have m.
	Publish(m *Message, confirmed func(ok bool)) error

	// Refused returns a message, without its body, that the broker has not taken for certain: the last one of this publisher on the channel that
	// the broker has closed, and so the session, since it would not take a message there. Those before may have been taken, and so
	// may what was published on another channel, after it too: messages with a confirmation have one of their own. It is nil if
	// the session lives, if it has ended otherwise, and if the last one is not known.
	Refused() *Message

	// Close closes the channels, which the session would keep otherwise. What was published is with the broker; when Close returns nil
	// nothing is reported of it any more. A Publish that comes later fails with [ErrClosed]. A second Close does nothing.
	Close(ctx context.Context) error
}

// A Consumer is a running consumer of a queue.
type Consumer interface {
	// Cancel asks the broker for no more deliveries and waits until those on the way have been handled. They can still be
	// acknowledged afterwards. It must not be called by the handler that it waits for. A second Cancel does nothing.
	Cancel(ctx context.Context) error
}

// Consume says what to consume, and how.
type Consume struct {
	Queue     string
	Prefetch  int  // deliveries outstanding at a time, 1 to 65535; not used with NoAck
	NoAck     bool // deliveries are settled as they are sent
	Exclusive bool // refuse other consumers
	Prompt    bool // handle never blocks: it may run on the goroutine that reads, and all other consumers wait

	// MaxBody is the longest body that is of use, in bytes; 0 for any. Of a longer one only the beginning need be there, one byte
	// more at the least, so that nobody who sends takes more memory than that.
	MaxBody int
}

// Exchange describes an exchange.
type Exchange struct {
	Name    string
	Kind    string // direct, fanout, topic, headers
	Durable bool
}

// Queue describes a queue.
type Queue struct {
	Name       string
	Durable    bool
	Exclusive  bool // visible to the declaring session only, deleted with it
	AutoDelete bool // deleted after its last consumer
	Args       map[string]any
}

// QueueInfo is the state of a queue.
type QueueInfo struct {
	Name      string
	Messages  int // ready for delivery
	Consumers int
}
