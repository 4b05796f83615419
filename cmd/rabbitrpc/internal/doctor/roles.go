package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A right is one that a role needs, and how the broker is asked for it. A question may be for several rights: then it is another
// one that is missing if the broker speaks of what that is for.
type right struct {
	name   string // as rabbitmqctl has it: what, and of what
	ask    func(ctx context.Context) error
	others map[string]string // rights, by the broker's words
}

func (r *right) missing(refusal error) string {
	for words, other := range r.others {
		if strings.Contains(refusal.Error(), "access to "+words+" '") {
			return other
		}
	}
	return r.name
}

// publish is the right to publish to an exchange, with a key if that is one of topics.
func (v *visit) publish(exchange, key string) right {
	return right{
		name: "write " + exchange, others: map[string]string{"topic": "write topic " + key + " of " + exchange},
		ask: func(ctx context.Context) error { return v.probe.MayPublish(ctx, exchange, key) },
	}
}

// bind is the right to bind a queue to an exchange.
func (v *visit) bind(queue, exchange, key string) right {
	return right{
		name:   "write " + queue,
		others: map[string]string{"exchange": "read " + exchange, "topic": "read topic " + key + " of " + exchange},
		ask:    func(ctx context.Context) error { return v.probe.MayBind(ctx, queue, exchange, key) },
	}
}

func (v *visit) configure(queue string) right {
	return right{name: "configure " + queue, ask: func(ctx context.Context) error { return v.probe.MayConfigureQueue(ctx, queue) }}
}

func (v *visit) configureExchange(name string) right {
	return right{name: "configure " + name, ask: func(ctx context.Context) error { return v.probe.MayConfigureExchange(ctx, name) }}
}

func (v *visit) consume(queue string) right {
	return right{name: "read " + queue, ask: func(ctx context.Context) error { return v.probe.MayConsume(ctx, queue) }}
}

// needs returns what a role needs for a service. A server can do without the rights to declare.
func (v *visit) needs(r Role, s conn.Session, service string) []right {
	t := wire.NewTopology(service, 0, 0)
	answer := right{name: "write amq.default", ask: func(ctx context.Context) error { return v.probe.MayPublish(ctx, "", "nobody") }}
	switch r {
	case Client:
		return []right{
			{name: "configure amq.gen-*", ask: func(ctx context.Context) error { _, err := replyQueue(ctx, s); return err }},
			{name: "read amq.gen-*", ask: func(ctx context.Context) error { return mayAwait(ctx, s) }},
			v.publish(t.Exchange.Name, ""),
		}
	case Server:
		return []right{v.consume(t.Queue.Name), answer}
	}
	return []right{
		v.configureExchange(wire.DiscoveryExchange), v.configureExchange(t.Exchange.Name),
		v.configure(t.Queue.Name), v.configure(t.Parked.Name), v.consume(t.Queue.Name), answer, v.bind(t.Queue.Name, t.Exchange.Name, ""),
	}
}

// discovery returns what a role needs besides for instances to be found, and what it cannot do without.
func (v *visit) discovery(r Role, service string) (rights []right, purpose string) {
	key := wire.DiscoveryKey(service)
	switch r {
	case Client:
		return []right{v.publish(wire.DiscoveryExchange, key)}, "ask for instances"
	case Server:
		queue := wire.InstanceQueue(service, "*")
		return []right{v.configure(queue), v.bind(queue, wire.DiscoveryExchange, wire.AllKey), v.bind(queue, wire.DiscoveryExchange, key), v.consume(queue)}, "be discovered"
	}
	return nil, ""
}

// replyQueue makes a queue that goes with the session.
func replyQueue(ctx context.Context, s conn.Session) (name string, err error) {
	q, err := s.DeclareQueue(ctx, conn.Queue{Exclusive: true, AutoDelete: true})
	return q.Name, err
}

// mayAwait asks for the right to read a reply queue. Who may not make one has none that could be read.
func mayAwait(ctx context.Context, s conn.Session) error {
	name, err := replyQueue(ctx, s)
	if errors.Is(err, conn.ErrRefused) {
		return nil
	}
	if err == nil {
		_, err = s.Consume(ctx, conn.Consume{Queue: name, NoAck: true, Exclusive: true}, func(*conn.Delivery) {})
	}
	return err
}

// roles checks what the user may be for a service.
func (v *visit) roles(s conn.Session, service string) {
	if v.probe.Broker.Product != "RabbitMQ" {
		v.say("rights", skipped("only RabbitMQ can be asked for them"))
		return
	}
	if v.blocked {
		v.say("rights", skipped("a broker that takes no messages cannot be asked for them"))
		return
	}
	wanted, insist := v.Roles, true
	if len(wanted) == 0 {
		wanted, insist = Roles, false
	}
	checks := make([]Check, len(wanted))
	none := true
	for i, r := range wanted {
		checks[i] = v.role(r, s, service)
		none = none && checks[i].Status == Problem
	}
	for i, c := range checks {
		if c.Status == Problem && !insist && !none {
			c.Status, c.Cure = Skipped, ""
		}
		v.say("as "+string(wanted[i]), c)
	}
}

// role asks for the rights of a role. Without those of discovery a server that is to be one is not seen; a client that need
// not look lacks nothing.
func (v *visit) role(r Role, s conn.Session, service string) Check {
	ctx, cancel := context.WithTimeout(v.ctx, v.Timeout)
	defer cancel()
	cure := "rabbitrpc topology permissions --" + string(r) + " " + shell(v.user) + " --service " + service + " prints how to give them"
	lacks, err := missing(ctx, v.needs(r, s, service))
	if err != nil {
		return failed(err)
	}
	if len(lacks) > 0 {
		return Check{Status: Problem, Text: "user " + v.user + " lacks the rights to " + strings.Join(lacks, ", "), Cure: cure}
	}
	more, purpose := v.discovery(r, service)
	if lacks, err = missing(ctx, more); err != nil {
		return failed(err)
	}
	if len(lacks) == 0 {
		return fine("user %s has all rights for it", v.user)
	}
	c := fine("user %s has all rights for it, but not to %s: it lacks those to %s", v.user, purpose, strings.Join(lacks, ", "))
	if r == Server && slices.Contains(v.Roles, r) {
		c.Status, c.Cure = Warning, cure+"; or switch discovery off"
	}
	return c
}

// missing asks for rights, and returns those that the user has not.
func missing(ctx context.Context, rights []right) (lacks []string, err error) {
	for _, right := range rights {
		err := right.ask(ctx)
		switch {
		case errors.Is(err, conn.ErrRefused):
			if name := right.missing(err); !slices.Contains(lacks, name) {
				lacks = append(lacks, name)
			}
		case err != nil && !errors.Is(err, conn.ErrNotFound): // what is not there, others say
			return nil, err
		}
	}
	return lacks, nil
}
