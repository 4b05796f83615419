package doctor

import (
	"context"
	"errors"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A right is one that a role needs, and how the broker is asked for it. A question may be for two rights: then it is the other
// one that is missing if sign is in the broker's words.
type right struct {
	name        string // as rabbitmqctl has it: what, and of what
	ask         func(ctx context.Context) error
	sign, other string
}

func (r *right) missing(refusal error) string {
	if r.other != "" && strings.Contains(refusal.Error(), r.sign) {
		return r.other
	}
	return r.name
}

// needs returns what a role needs for a service. A server can do without the rights to declare.
func (v *visit) needs(r Role, s conn.Session, service string) []right {
	t, p := wire.NewTopology(service, 0, 0), v.probe
	configure := func(name string) right {
		return right{name: "configure " + name, ask: func(ctx context.Context) error { return p.MayConfigureQueue(ctx, name) }}
	}
	answer := right{name: "write amq.default", ask: func(ctx context.Context) error { return p.MayPublish(ctx, "", "nobody") }}
	consume := right{name: "read " + t.Queue.Name, ask: func(ctx context.Context) error { return p.MayConsume(ctx, t.Queue.Name) }}
	switch r {
	case Client:
		return []right{
			{name: "configure amq.gen-*", ask: func(ctx context.Context) error { _, err := replyQueue(ctx, s); return err }},
			{name: "read amq.gen-*", ask: func(ctx context.Context) error { return mayAwait(ctx, s) }},
			{
				name: "write " + t.Exchange.Name, sign: "topic '", other: "write topic " + t.Key + " of " + t.Exchange.Name,
				ask: func(ctx context.Context) error { return p.MayPublish(ctx, t.Exchange.Name, t.Key) },
			},
		}
	case Server:
		return []right{consume, answer}
	}
	return []right{
		{name: "configure " + t.Exchange.Name, ask: func(ctx context.Context) error { return p.MayConfigureExchange(ctx, t.Exchange.Name) }},
		configure(t.Queue.Name), configure(t.Parked.Name), consume, answer,
		{
			name: "write " + t.Queue.Name, sign: "exchange '", other: "read " + t.Exchange.Name,
			ask: func(ctx context.Context) error { return p.MayBind(ctx, t.Queue.Name, t.Exchange.Name, t.Key) },
		},
	}
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

// role asks for the rights of a role.
func (v *visit) role(r Role, s conn.Session, service string) Check {
	ctx, cancel := context.WithTimeout(v.ctx, v.Timeout)
	defer cancel()
	var lacks []string
	for _, right := range v.needs(r, s, service) {
		err := right.ask(ctx)
		switch {
		case errors.Is(err, conn.ErrRefused):
			lacks = append(lacks, right.missing(err))
		case err != nil && !errors.Is(err, conn.ErrNotFound): // what is not there, others say
			return failed(err)
		}
	}
	if len(lacks) == 0 {
		return fine("user %s has all rights for it", v.user)
	}
	return Check{
		Status: Problem, Text: "user " + v.user + " lacks the rights to " + strings.Join(lacks, ", "),
		Cure: "rabbitrpc topology permissions --" + string(r) + " " + shell(v.user) + " --service " + service + " prints how to give them",
	}
}
