package rawloop

import (
	"context"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A Server answers the calls to one queue.
type Server struct {
	link
	queue   string
	workers sync.WaitGroup
}

// Serve declares a queue and answers what comes, with as many workers as the broker hands over requests at a time. A
// request is acknowledged by itself once its reply is published; by a safe server, whose queue is durable, once the reply is
// confirmed.
func Serve(url, queue string, workers int, safe bool, handle func([]byte) []byte) (*Server, error) {
	l, err := dial(url, safe)
	if err != nil {
		return nil, err
	}
	s := &Server{link: *l, queue: queue}
	requests, err := s.consume(workers)
	if err != nil {
		s.Close()
		return nil, err
	}
	for range workers {
		s.workers.Go(func() {
			for d := range requests {
				if s.answer(d, handle) != nil {
					return // the connection is gone, or about to
				}
			}
		})
	}
	return s, nil
}

func (s *Server) consume(workers int) (<-chan amqp.Delivery, error) {
	if _, err := s.in.QueueDeclare(s.queue, s.safe, !s.safe, false, false, nil); err != nil {
		return nil, fmt.Errorf("declare queue: %w", err)
	}
	if err := s.in.Qos(workers, 0, false); err != nil {
		return nil, fmt.Errorf("set prefetch: %w", err)
	}
	requests, err := s.in.Consume(s.queue, "", false, false, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume requests: %w", err)
	}
	return requests, nil
}

func (s *Server) answer(d amqp.Delivery, handle func([]byte) []byte) error {
	ctx := context.Background()
	confirmation, err := s.publish(ctx, d.ReplyTo, amqp.Publishing{
		CorrelationId: d.CorrelationId, ContentType: d.ContentType, Body: handle(d.Body),
	})
	if err == nil {
		err = confirmed(ctx, confirmation)
	}
	if err == nil {
		err = d.Ack(false)
	}
	return err
}

// Waiting returns how many requests wait in the queue.
func (s *Server) Waiting() (int, error) {
	q, err := s.in.QueueDeclarePassive(s.queue, s.safe, !s.safe, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("inspect queue: %w", err)
	}
	return q.Messages, nil
}

// Close deletes the queue, ends the connections and waits for the workers.
func (s *Server) Close() {
	s.in.QueueDelete(s.queue, false, false, false) // if that fails, the connection is gone
	s.link.Close()
	s.workers.Wait()
}
