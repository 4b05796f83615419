// Package topology declares, checks and deletes what a broker has of services, on behalf of servers that may not.
//
// What that is, package wire says for servers and for this package alike.
package topology

import (
	"context"
	"errors"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A Service is what is wanted of a service. Plain is the name of a plain queue that its servers serve as well, or "".
type Service struct {
	wire.Topology
	Plain string
}

// queues returns the queues of a service. A plain queue is used as it is, if it is there.
func (s *Service) queues() []conn.Queue {
	all := []conn.Queue{s.Queue, s.Parked}
	if s.Plain != "" {
		all = append(all, wire.PlainQueue(s.Plain))
	}
	return all
}

// quorum reports whether its servers count how often a request was started, and so make sure of the parked queue as they start.
func (s *Service) quorum() bool { return s.Queue.Args["x-queue-type"] == "quorum" }

// exchanges returns the service's own exchange, and the one for questions to the instances of all services.
func (s *Service) exchanges() []conn.Exchange {
	return []conn.Exchange{s.Exchange, wire.QuestionExchange}
}

// A DifferentError says that something exists with other properties than it should.
type DifferentError struct {
	What        string
	Differences []Difference
}

func (e *DifferentError) Error() string {
	return e.What + " exists with other properties: " + list(e.Differences)
}

// Declare makes sure of all that the service needs. What is there as it should be stays as it is, so that it can be repeated.
// Done is told each thing that is there now.
func Declare(ctx context.Context, s conn.Session, want *Service, done func(what string)) error {
	for _, e := range want.exchanges() {
		if err := declareExchange(ctx, s, e); err != nil {
			return err
		}
		done("exchange " + e.Name)
	}
	for _, q := range want.queues() {
		_, err := s.DeclareQueue(ctx, q)
		if errors.Is(err, conn.ErrPrecondition) && q.Name != want.Plain {
			var is []Difference
			if is, err = queueDifferences(ctx, s, q); err == nil {
				err = &DifferentError{"queue " + q.Name, is}
			}
		}
		if err != nil && !errors.Is(err, conn.ErrPrecondition) {
			return err
		}
		done("queue " + q.Name)
	}
	if err := s.BindQueue(ctx, want.Queue.Name, want.Exchange.Name, ""); err != nil {
		return err
	}
	done("binding " + want.Queue.Name)
	return nil
}

func declareExchange(ctx context.Context, s conn.Session, e conn.Exchange) error {
	err := s.DeclareExchange(ctx, e)
	if d, ok := readDifference(err); ok {
		return &DifferentError{"exchange " + e.Name, []Difference{d}}
	}
	return err
}

// A BusyError says that a queue is in use, and not deleted.
type BusyError struct{ conn.QueueInfo }

func (e *BusyError) Error() string {
	return fmt.Sprintf("queue %s has %d messages and %d consumers: nothing of the service is deleted", e.Name, e.Messages, e.Consumers)
}

// Delete deletes the queues of a service, and its exchange; that for questions is of all services, and stays. Unless it is
// forced to, it deletes nothing if one of the queues has messages or consumers. It has to look first, so a message that comes
// between the look and the end is lost. Done is told what was there.
func Delete(ctx context.Context, s conn.Session, want *Service, force bool, done func(what string)) error {
	var there []string
	for _, q := range want.queues() {
		info, err := s.InspectQueue(ctx, q.Name)
		switch {
		case errors.Is(err, conn.ErrNotFound):
			continue
		case err != nil:
			return err
		case !force && (info.Messages > 0 || info.Consumers > 0):
			return &BusyError{info}
		}
		there = append(there, q.Name)
	}
	for _, name := range there {
		if err := s.DeleteQueue(ctx, name); err != nil {
			return err
		}
		done("queue " + name)
	}
	// After its queue: what is published meanwhile is returned to its caller, and without an exchange it costs the caller's session.
	err := s.DeleteExchange(ctx, want.Exchange.Name)
	if err == nil && len(there) > 0 {
		done("exchange " + want.Exchange.Name)
	}
	return err
}
