package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// What strangers can make a survey remember and show is bounded.
const (
	maxServices = 1000
	maxFound    = 10_000
)

// A finding is an instance, or a service without one.
type finding struct {
	Service   string        `json:"service"`
	Instance  *rpc.Instance `json:"instance"`
	Ready     *int          `json:"ready"` // requests that wait for the service; nil if that is not known
	Consumers *int          `json:"consumers"`
	At        string        `json:"at,omitempty"`
}

// A survey finds out again and again what there is.
type survey struct {
	discovery *client.Discovery
	ask       client.Question
	only      []string        // services; empty for all
	known     map[string]bool // services that are shown even if none of their instances answers
}

// look returns what there is, by service and name.
func (s *survey) look(ctx context.Context) (found []finding, err error) {
	service := ""
	if len(s.only) == 1 {
		service = s.only[0] // the others need not answer
	}
	answered := make(map[string]bool)
	for a, err := range s.discovery.Instances(ctx, service, s.ask, 0) {
		if err != nil {
			return nil, err
		}
		if len(s.only) > 0 && !slices.Contains(s.only, a.Service) || len(found) == maxFound {
			continue
		}
		found = append(found, finding{Service: a.Service, Instance: &a.Instance})
		answered[a.Service] = true
		if len(s.known) < maxServices {
			s.known[a.Service] = true
		}
	}
	for name := range s.known {
		if !answered[name] {
			found = append(found, finding{Service: name})
		}
	}
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(nameOf(a), nameOf(b)))
	})
	return s.queues(ctx, found)
}

func nameOf(f finding) string {
	if f.Instance == nil {
		return ""
	}
	return f.Instance.Name + " " + f.Instance.ID
}

// queues adds what the broker says of the queues, and drops services that have neither an instance nor a queue.
func (s *survey) queues(ctx context.Context, found []finding) ([]finding, error) {
	states := make(map[string]*client.QueueState)
	missing := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		q, err := s.discovery.Queue(ctx, name)
		switch {
		case err == nil:
			states[name] = &q
		case errors.Is(err, conn.ErrNotFound):
			missing[name] = true
		case errors.Is(err, conn.ErrRefused):
		default:
			return nil, err
		}
	}
	for i := range found {
		if q := states[found[i].Service]; q != nil {
			found[i].Ready, found[i].Consumers = &q.Messages, &q.Consumers
		}
	}
	return slices.DeleteFunc(found, func(f finding) bool { return f.Instance == nil && missing[f.Service] }), nil
}
