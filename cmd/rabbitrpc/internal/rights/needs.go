package rights

import (
	"regexp"
	"slices"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// needs are patterns of what is configured, written and read to do something.
type needs struct {
	configure, write, read  []string
	writeTopics, readTopics []string // of the exchange for discovery
}

// and returns what it takes to do both.
func (n needs) and(m needs) needs {
	both := func(a, b []string) []string {
		all := slices.Clone(a)
		for _, p := range b {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
		return all
	}
	return needs{
		configure: both(n.configure, m.configure), write: both(n.write, m.write), read: both(n.read, m.read),
		writeTopics: both(n.writeTopics, m.writeTopics), readTopics: both(n.readTopics, m.readTopics),
	}
}

var (
	questions       = quote(wire.DiscoveryExchange)
	defaultExchange = []string{`amq\.default`}
	replyQueues     = []string{`amq\.gen-.*`} // the broker makes their names
)

// callPlain can write into every queue: RabbitMQ does not tell them apart.
var callPlain = needs{configure: replyQueues, write: defaultExchange, read: replyQueues}

// observe is to ask for the instances of all services, or of any.
var observe = needs{
	configure: replyQueues, write: questions, read: replyQueues,
	writeTopics: []string{regexp.QuoteMeta(wire.AllKey), regexp.QuoteMeta(wire.AllKey) + `\..*`},
}

func (s *Scope) call() needs {
	return needs{configure: replyQueues, write: s.each(wire.Exchange), read: replyQueues}
}

// ask is to ask for the instances of the services that may be called: others are none of the client's business.
func (s *Scope) ask() needs {
	if !s.Discovery {
		return needs{}
	}
	return needs{write: questions, writeTopics: s.each(wire.DiscoveryKey)}
}

func (s *Scope) serve() needs {
	return needs{write: defaultExchange, read: slices.Concat(s.each(wire.Queue), s.plain())}
}

// beDiscovered is to have a queue for questions, with a name that begins with the service's.
func (s *Scope) beDiscovered() needs {
	if !s.Discovery {
		return needs{}
	}
	queues := s.each(func(service string) string { return wire.InstanceQueue(service, "") })
	for i := range queues {
		queues[i] += ".*"
	}
	return needs{
		configure: queues, write: queues, read: slices.Concat(questions, queues),
		readTopics: slices.Concat(quote(wire.AllKey), s.each(wire.DiscoveryKey)),
	}
}

// declare is to declare and to bind. A queue with a dead letter exchange takes the right to read the one, and write the
// other; so does a binding. A service's exchange has the name of its queue.
func (s *Scope) declare() needs {
	queues := s.each(wire.Queue)
	var all []string
	for i, parked := range s.each(wire.ParkedQueue) {
		all = append(all, queues[i], parked)
	}
	return needs{
		configure: slices.Concat(questions, all, s.plain()), write: slices.Concat(queues, defaultExchange), read: queues,
	}
}

// each returns a pattern for each service.
func (s *Scope) each(name func(service string) string) []string {
	all := make([]string, len(s.Services))
	for i, service := range s.Services {
		all[i] = name(service)
	}
	return quote(all...)
}

func (s *Scope) plain() []string {
	if s.Queue == "" {
		return nil
	}
	return quote(s.Queue)
}

func quote(names ...string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	return quoted
}
