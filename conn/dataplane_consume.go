package conn

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// A dataConsumer is a [consumer] of the data plane. The library knows of it, and never sees a delivery.
type dataConsumer struct {
	Consume
	s         *session
	ch        *amqp.Channel
	lane      lane
	handle    func(*Delivery)
	users     atomic.Int64 // of the channel: the consumer, and each delivery that is not settled
	cancelled atomic.Bool
	acks      acks // guarded by outbox.mu
	backlog   backlog

	mu     sync.Mutex // guards what follows
	opened bool
	early  error         // why it was over before Consume had its turn again
	ended  chan struct{} // closed when nothing will be handed over any more
}

func (s *session) consumeData(ctx context.Context, c Consume, handle func(*Delivery)) (Consumer, error) {
	k := &dataConsumer{Consume: c, s: s, handle: handle, ended: make(chan struct{})}
	k.users.Store(1)
	k.backlog.init()
	err := s.call(ctx, "consume "+c.Queue, k.open, func() {
		k.cancelled.Store(true)
		k.ch.Close()
		s.sub.line.lanes.remove(&k.lane)
		k.backlog.close()
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (k *dataConsumer) open() (err error) {
	l := k.s.sub
	if k.ch, k.lane.id, err = l.channel(); err != nil {
		return err
	}
	k.acks.channel = k.lane.id
	if !k.NoAck {
		if err = k.ch.Qos(k.Prefetch, 0, false); err != nil {
			return err
		}
	}
	k.lane.take, k.lane.over = k.take, k.over
	if k.MaxBody > 0 {
		k.lane.inbox.MostBody = k.MaxBody + 1
	}
	l.line.lanes.add(&k.lane)
	if !k.Prompt {
		k.s.start(func() {
			defer close(k.ended)
			k.backlog.run(k.s.done, k.handle)
		})
	}
	if _, err = k.ch.Consume(k.Queue, consumerTag, k.NoAck, k.Exclusive, false, false, nil); err != nil {
		k.backlog.close()
		return err
	}
	k.mu.Lock()
	k.opened = true
	early := k.early
	k.mu.Unlock()
	if early != nil {
		k.over(early)
	}
	return nil
}

// take hands a delivery over, on the goroutine of the reader if the consumer is prompt.
func (k *dataConsumer) take(event frame.Event) {
	if event != frame.Delivery {
		return // nothing else was asked for
	}
	d := k.delivery(&k.lane.inbox)
	if k.Prompt {
		k.handle(d)
	} else {
		k.backlog.add(d)
	}
}

// delivery makes a delivery of what has come, and notes that it is to be settled.
func (k *dataConsumer) delivery(in *frame.Inbox) *Delivery {
	if k.NoAck {
		return &Delivery{Message: fromInbox(in), Redelivered: in.Redelivered}
	}
	r := &received{Delivery: Delivery{Message: fromInbox(in), Redelivered: in.Redelivered}, consumer: k, tag: in.Tag}
	r.settler = r
	k.users.Add(1)
	out := &k.s.sub.line.outbox
	out.mu.Lock()
	k.acks.add(r)
	out.mu.Unlock()
	return &r.Delivery
}

// over ends the session with the consumer. One that the broker has not even opened is its caller's to report.
func (k *dataConsumer) over(err error) {
	k.mu.Lock()
	if k.early = err; !k.opened || k.cancelled.Load() {
		k.mu.Unlock()
		return
	}
	k.mu.Unlock()
	if err == ErrCancelled {
		err = fmt.Errorf("consumer of %s: %w", k.Queue, err)
	}
	k.s.die(err)
}

func (k *dataConsumer) Cancel(ctx context.Context) error {
	if k.cancelled.Swap(true) {
		return nil
	}
	if err := k.s.call(ctx, "cancel consumer", k.cancel, nil); err != nil || k.Prompt {
		return err
	}
	select {
	case <-k.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancel consumer: %w", ctx.Err())
	}
}

// cancel returns when the reader has taken what came before the broker's answer.
func (k *dataConsumer) cancel() error {
	if err := k.ch.Cancel(consumerTag, false); err != nil {
		return err
	}
	k.backlog.close()
	k.release()
	return nil
}

// release closes the channel after its last user, see [consumer.release].
func (k *dataConsumer) release() {
	if k.users.Add(-1) > 0 {
		return
	}
	k.s.start(func() {
		k.s.call(context.Background(), "close channel", k.ch.Close, nil)
		k.s.sub.line.lanes.remove(&k.lane)
	})
}

func (k *dataConsumer) settle(r *received, ack, requeue bool) error {
	if k.s.Err() != nil {
		return k.s.closedErr("settle")
	}
	out := &k.s.sub.line.outbox
	out.mu.Lock() // whatever there is room for: there are no more of these than the prefetch
	if out.err != nil || k.lane.closed {
		out.mu.Unlock()
		return k.s.closedErr("settle")
	}
	if ack {
		if k.acks.ack(r) {
			out.acks = append(out.acks, &k.acks)
		}
		out.flushSoon()
		k.release()
		return nil
	}
	k.acks.remove(r)
	out.queued = frame.AppendNack(out.queued, k.lane.id, r.tag, requeue)
	if err := out.flush(); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	k.release()
	return nil
}
