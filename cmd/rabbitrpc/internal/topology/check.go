package topology

import (
	"context"
	"errors"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// The states of what a service needs.
const (
	Good    = "ok"
	Missing = "missing"
	Later   = "later" // it is not there yet: servers make it when they need it
	Differs = "differs"
	Unknown = "unknown" // the user may not find out
)

// A Finding is the state of one thing that a service needs.
type Finding struct {
	What        string       `json:"what"` // "exchange", "queue" or "binding"
	Name        string       `json:"name"`
	State       string       `json:"state"`
	Differences []Difference `json:"differences,omitempty"`
	Reason      string       `json:"reason,omitempty"` // why it is unknown
}

// Detail says in words what State does not.
func (f *Finding) Detail() string {
	if f.State == Differs {
		return list(f.Differences)
	}
	return f.Reason
}

// Check finds out what a service has of what it needs, and changes nothing. Whether its queue is bound can be told by who may
// call it.
func Check(ctx context.Context, c conn.Connector, s conn.Session, p *conn.Probe, service string, want *Service) ([]Finding, error) {
	var all []Finding
	there := true // what a binding needs
	for _, e := range want.exchanges() {
		found, err := checkExchange(ctx, s, p, e)
		if err != nil {
			return nil, err
		}
		there = there && (e != want.Exchange || found.State != Missing)
		all = append(all, found)
	}
	for _, q := range want.queues() {
		found, err := CheckQueue(ctx, s, q)
		if err != nil {
			return nil, err
		}
		if q.Name == want.Plain && found.State == Differs {
			found = Finding{What: "queue", Name: q.Name, State: Good} // it is served as it is
		}
		there = there && (q.Name != want.Queue.Name || found.State != Missing)
		if q.Name == want.Parked.Name && found.State == Missing && there && !want.quorum() {
			found.State, found.Reason = Later, "made when there is something to park, by servers that may"
		}
		all = append(all, found)
	}
	binding := Finding{What: "binding", Name: want.Queue.Name, State: Missing}
	if there {
		binding.State = Good
		answer, err := Ping(ctx, c, service)
		blocked := ""
		if answer.Outcome == Silent { // a broker in an alarm may not have read it
			blocked, err = p.Blocked(ctx)
		}
		switch {
		case errors.Is(err, conn.ErrRefused):
			binding.State, binding.Reason = Unknown, "takes the rights of a client of the service"
		case err != nil:
			return nil, err
		case blocked != "":
			binding.State, binding.Reason = Unknown, "the broker takes no messages: "+blocked
		case answer.Outcome == Unroutable:
			binding.State = Missing
		}
	}
	return append(all, binding), nil
}

func checkExchange(ctx context.Context, s conn.Session, p *conn.Probe, want conn.Exchange) (Finding, error) {
	f := Finding{What: "exchange", Name: want.Name, State: Good}
	err := p.HasExchange(ctx, want.Name)
	if errors.Is(err, conn.ErrNotFound) {
		f.State = Missing
		return f, nil
	}
	if err == nil || errors.Is(err, conn.ErrRefused) {
		err = s.DeclareExchange(ctx, want)
	}
	return f.judge(err, nil)
}

// CheckQueue finds out the state of a queue.
func CheckQueue(ctx context.Context, s conn.Session, want conn.Queue) (Finding, error) {
	f := Finding{What: "queue", Name: want.Name, State: Good}
	_, err := s.InspectQueue(ctx, want.Name)
	if errors.Is(err, conn.ErrNotFound) {
		f.State = Missing
		return f, nil
	}
	if err != nil && !errors.Is(err, conn.ErrLocked) {
		return f.judge(err, nil)
	}
	differences, err := queueDifferences(ctx, s, want) // which changes nothing, since it is there
	return f.judge(err, differences)
}

// judge completes a finding with what asking for it came to.
func (f Finding) judge(err error, differences []Difference) (Finding, error) {
	if d, ok := readDifference(err); ok {
		differences, err = append(differences, d), nil
	}
	switch {
	case errors.Is(err, conn.ErrRefused):
		f.State, f.Reason = Unknown, "takes the right to configure it"
		return f, nil
	case errors.Is(err, conn.ErrPrecondition): // in words that are not known
		f.State, f.Differences = Differs, append(differences, Difference{Property: err.Error()})
		return f, nil
	case len(differences) > 0:
		f.State, f.Differences = Differs, differences
	}
	return f, err
}
