package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/topology"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// service checks one service: rights, what the broker has of it, who serves it, what is parked.
func (v *visit) service(m *conn.Manager, service string) {
	ctx, cancel := context.WithTimeout(v.ctx, v.Timeout)
	defer cancel()
	s, err := m.Session(ctx)
	if err != nil {
		v.say("session", failed(err))
		return
	}
	v.roles(s, service)
	want := wire.NewTopology(service, 0, 0)
	v.check("exchange", func(ctx context.Context) Check { return v.exchange(ctx, want.Exchange) })
	there := false
	v.check("queue", func(ctx context.Context) Check {
		f, err := topology.CheckQueue(ctx, s, want.Queue)
		there = err == nil && f.State != topology.Missing
		return judgeQueue(f, err, service)
	})
	if there {
		v.check("servers", func(ctx context.Context) Check { return v.servers(ctx, m, s, service) })
	}
	v.check("parked", func(ctx context.Context) Check { return parked(ctx, s, service) })
}

func (v *visit) exchange(ctx context.Context, want conn.Exchange) Check {
	err := v.probe.HasExchange(ctx, want.Name)
	switch {
	case errors.Is(err, conn.ErrNotFound):
		return Check{Status: Problem, Text: "there is no exchange " + want.Name,
			Cure: "start a server, or rabbitrpc topology declare; check the virtual host"}
	case errors.Is(err, conn.ErrRefused):
		return skipped("this user may not look at it")
	case err != nil:
		return failed(err)
	}
	return fine("%s is there", want.Name)
}

// own are the arguments that servers give their queues, if they are told to, and the values that are good.
var own = map[string][]any{
	"x-queue-type":     {"quorum", "classic"},
	"x-delivery-limit": nil, // any
	"x-max-length":     nil,
	"x-overflow":       {"reject-publish-dlx", "drop-head"},
}

// judgeQueue says what is wrong with a service's queue.
func judgeQueue(f topology.Finding, err error, service string) Check {
	switch {
	case err != nil:
		return failed(err)
	case f.State == topology.Missing:
		return Check{Status: Problem, Text: "no server for the service: there is no queue " + f.Name + ", nobody has ever served it here",
			Cure: "check the name of the service and the virtual host; start a server, or rabbitrpc topology declare " + service}
	case f.State == topology.Unknown:
		return skipped("its arguments cannot be told: that %s", f.Reason)
	}
	var foreign, known []string
	for _, d := range f.Differences {
		if good, ok := own[d.Property]; ok && (good == nil || slices.Contains(good, d.Is)) {
			known = append(known, fmt.Sprintf("%s %v", d.Property, d.Is))
			continue
		}
		foreign = append(foreign, d.String())
	}
	if len(foreign) > 0 {
		return Check{Status: Problem, Text: f.Name + " has foreign arguments: " + strings.Join(foreign, "; "),
			Cure: "stop its servers and wait until it is empty; then rabbitrpc topology delete " + service + ", and start them again"}
	}
	return fine("%s", strings.Join(append([]string{f.Name + " is as servers declare it"}, known...), ", "))
}

// servers checks who serves a service: as the broker says, and by a ping.
func (v *visit) servers(ctx context.Context, m *conn.Manager, s conn.Session, service string) Check {
	info, err := s.InspectQueue(ctx, wire.Queue(service))
	known := err == nil
	if err != nil && !errors.Is(err, conn.ErrRefused) {
		return failed(err)
	}
	if known && info.Consumers == 0 {
		return Check{Status: Problem, Text: fmt.Sprintf("no server for the service; requests that wait: %d", info.Messages),
			Cure: "start a server; if one runs, check its user, its virtual host and its log"}
	}
	consumers := fmt.Sprintf("consumers: %d", info.Consumers)
	if !known {
		consumers = "consumers are not known: looking takes the right to configure the queue"
	}
	if v.blocked {
		return skipped("%s; a broker that takes no messages takes no ping", consumers)
	}
	a, err := topology.Ping(ctx, m, service)
	switch {
	case errors.Is(err, conn.ErrRefused):
		return skipped("%s; this user may not ping them", consumers)
	case err != nil:
		return failed(err)
	case a.Outcome == topology.Answered && info.Messages > 0:
		return Check{Status: Warning, Text: fmt.Sprintf("%s, requests that wait: %d", consumers, info.Messages),
			Cure: "servers are busy: more of them, or more workers"}
	case a.Outcome == topology.Answered:
		return fine("%s, one has answered within %v", consumers, a.Took.Round(10*time.Microsecond))
	case a.Outcome == topology.Unroutable:
		return Check{Status: Problem, Text: "requests do not reach the queue: it is not bound to the exchange",
			Cure: "rabbitrpc topology declare " + service + ", or restart a server that may declare"}
	case a.Outcome == topology.Silent:
		return Check{Status: Problem, Text: consumers + ", and nobody answers",
			Cure: "a server may be frozen, or something else consumes from the queue: rabbitmqctl list_consumers tells"}
	}
	if !known {
		return Check{Status: Problem, Text: "no server for the service, or none that has room", Cure: "start a server"}
	}
	return Check{Status: Warning, Text: fmt.Sprintf("%s, and none has room; requests that wait: %d", consumers, info.Messages),
		Cure: "servers are busy: more of them, or more workers"}
}

func parked(ctx context.Context, s conn.Session, service string) Check {
	info, err := s.InspectQueue(ctx, wire.ParkedQueue(service))
	switch {
	case errors.Is(err, conn.ErrNotFound):
		return fine("nothing: no server has had to park a request")
	case errors.Is(err, conn.ErrRefused):
		return skipped("this user may not look at them")
	case err != nil:
		return failed(err)
	case info.Messages > 0:
		return Check{Status: Warning, Text: fmt.Sprintf("requests that killed their servers: %d", info.Messages),
			Cure: "rabbitrpc parked ls " + service}
	}
	return fine("nothing")
}
