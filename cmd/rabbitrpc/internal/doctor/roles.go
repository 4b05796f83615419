package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A right is one that a role needs, and how the broker is asked for it.
type right struct {
	name string // as rabbitmqctl has it: what, and of what
	ask  func(ctx context.Context) error
}

// needs returns what a role needs for a service. A server can do without the right to declare.
func (v *visit) needs(r Role, s conn.Session, service string) []right {
	t, p := wire.NewTopology(service, 0, 0), v.probe
	configure := func(name string) right {
		return right{"configure " + name, func(ctx context.Context) error { return p.MayConfigureQueue(ctx, name) }}
	}
	answer := right{"write amq.default", func(ctx context.Context) error { return p.MayPublish(ctx, "", "nobody") }}
	consume := right{"read " + t.Queue.Name, func(ctx context.Context) error { return p.MayConsume(ctx, t.Queue.Name) }}
	switch r {
	case Client:
		return []right{
			{"configure and read amq.gen-* (for replies)", func(ctx context.Context) error { return mayAwait(ctx, s) }},
			{"write " + t.Exchange.Name + ", and topic " + t.Key, func(ctx context.Context) error { return p.MayPublish(ctx, t.Exchange.Name, t.Key) }},
		}
	case Server:
		return []right{consume, answer}
	}
	return []right{
		{"configure " + t.Exchange.Name, func(ctx context.Context) error { return p.MayConfigureExchange(ctx, t.Exchange.Name) }},
		configure(t.Queue.Name), configure(t.Parked.Name), consume, answer,
		{"write " + t.Queue.Name + ", read " + t.Exchange.Name, func(ctx context.Context) error {
			return p.MayBind(ctx, t.Queue.Name, t.Exchange.Name, t.Key)
		}},
	}
}

// mayAwait makes a reply queue, which goes with the session.
func mayAwait(ctx context.Context, s conn.Session) error {
	q, err := s.DeclareQueue(ctx, conn.Queue{Exclusive: true, AutoDelete: true})
	if err != nil {
		return err
	}
	_, err = s.Consume(ctx, conn.Consume{Queue: q.Name, NoAck: true, Exclusive: true}, func(*conn.Delivery) {})
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
	wanted := v.Roles
	if len(wanted) == 0 {
		wanted = Roles
	}
	lacks := make(map[Role][]string)
	var failure error
	v.check("rights", func(ctx context.Context) Check {
		for _, r := range wanted {
			for _, right := range v.needs(r, s, service) {
				err := right.ask(ctx)
				if errors.Is(err, conn.ErrRefused) {
					lacks[r] = append(lacks[r], right.name+" ("+reason(err)+")")
				} else if err != nil && !errors.Is(err, conn.ErrNotFound) {
					failure = err
				}
			}
		}
		if failure != nil {
			return failed(failure)
		}
		return v.judgeRoles(wanted, lacks, service)
	})
}

// judgeRoles says which roles a user can have.
func (v *visit) judgeRoles(wanted []Role, lacks map[Role][]string, service string) Check {
	var can, cannot []string
	for _, r := range wanted {
		if len(lacks[r]) == 0 {
			can = append(can, string(r))
		} else {
			cannot = append(cannot, "as a "+string(r)+" it lacks "+strings.Join(lacks[r], ", "))
		}
	}
	text := "user " + v.user
	if len(can) > 0 {
		cannot = slices.Insert(cannot, 0, "may be "+strings.Join(can, " and "))
	}
	c := Check{Status: OK, Text: text + " " + strings.Join(cannot, "; ")}
	if len(can) < len(wanted) && (len(v.Roles) > 0 || len(can) == 0) {
		c.Status = Problem
		c.Cure = "rabbitrpc topology permissions --" + string(wanted[0]) + " " + shell(v.user) + " --service " + service + " prints what to do"
	}
	return c
}

// reason is the broker's words, without its constant.
func reason(err error) string {
	e, ok := errors.AsType[*conn.Error](err)
	if !ok {
		return err.Error()
	}
	return strings.TrimPrefix(e.Reason, "ACCESS_REFUSED - ")
}
