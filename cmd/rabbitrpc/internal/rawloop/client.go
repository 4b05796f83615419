// Package rawloop is what one writes by hand over the AMQP library to make calls: RabbitMQ's tutorial 6, made fit for many
// callers and workers. It is what `rabbitrpc bench` compares with, and as good as it gets without giving up that form: one
// connection for each direction, one channel for each purpose, a map of waiting calls, no time limits, no headers, nothing
// sent again.
package rawloop

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ErrLost ends the calls of a connection that is gone.
var ErrLost = errors.New("the connection was lost")

// A Client makes calls to one queue. It is safe for concurrent use.
type Client struct {
	link
	queue   string
	replies string
	next    atomic.Uint64
	lost    chan struct{}

	mu    sync.Mutex // guards calls
	calls map[string]chan []byte
}

// Dial connects a client with the server of a queue. A safe client sends persistent requests, and a call of it ends when its
// request is confirmed too.
func Dial(url, queue string, safe bool) (*Client, error) {
	l, err := dial(url, safe)
	if err != nil {
		return nil, err
	}
	c := &Client{link: *l, queue: queue, lost: make(chan struct{}), calls: make(map[string]chan []byte)}
	q, err := c.in.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("declare reply queue: %w", err)
	}
	c.replies = q.Name
	replies, err := c.in.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("consume replies: %w", err)
	}
	go c.receive(replies) // until the connection ends
	return c, nil
}

func (c *Client) receive(replies <-chan amqp.Delivery) {
	for d := range replies {
		c.mu.Lock()
		reply := c.calls[d.CorrelationId]
		delete(c.calls, d.CorrelationId)
		c.mu.Unlock()
		if reply != nil {
			reply <- d.Body
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, reply := range c.calls {
		close(reply)
	}
	c.calls = nil
	close(c.lost)
}

// Lost is closed when the connection is gone.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Call makes a call and returns the body of the reply.
func (c *Client) Call(ctx context.Context, body []byte) ([]byte, error) {
	id := strconv.FormatUint(c.next.Add(1), 36)
	reply := make(chan []byte, 1)
	if !c.register(id, reply) {
		return nil, ErrLost
	}
	confirmation, err := c.publish(ctx, c.queue, amqp.Publishing{
		CorrelationId: id, ReplyTo: c.replies, ContentType: "application/octet-stream", Body: body,
	})
	if err != nil {
		c.forget(id)
		return nil, fmt.Errorf("publish request: %w", err)
	}
	select {
	case body, ok := <-reply:
		if !ok {
			return nil, ErrLost
		}
		return body, confirmed(ctx, confirmation)
	case <-ctx.Done():
		c.forget(id)
		return nil, ctx.Err()
	}
}

// register is false if the connection is lost.
func (c *Client) register(id string, reply chan []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		return false
	}
	c.calls[id] = reply
	return true
}

func (c *Client) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
}
