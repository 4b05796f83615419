package main

import (
	"context"
	"crypto/tls"
	"sync/atomic"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/gateway"
)

// A changes is what of a gateway's configuration is in force, as SIGHUP changes it.
type changes struct {
	*process
	inForce config.Config // of the goroutine that follows
	broker  atomic.Pointer[config.Broker]
}

func newChanges(p *process) *changes {
	ch := &changes{process: p, inForce: p.config.Config}
	ch.broker.Store(&p.config.Broker)
	return ch
}

// credentials are those for the next connection with the broker.
func (ch *changes) credentials() (user, password string, err error) {
	return ch.broker.Load().Credentials()
}

func (ch *changes) tls() (*tls.Config, error) { return ch.broker.Load().TLS.Config() }

// follow reads the configuration again each time that it is asked to, until ctx ends.
func (ch *changes) follow(ctx context.Context, g *gateway.Gateway) {
	for {
		select {
		case <-ch.reloads:
			ch.reload(g)
		case <-ctx.Done():
			return
		}
	}
}

// reload applies what can be applied of a new configuration. The token may be another one though no key has changed.
func (ch *changes) reload(g *gateway.Gateway) {
	next, err := ch.load()
	if err != nil {
		config.LogUnread(ch.log, err)
		return
	}
	changed := ch.inForce.Changes(&next.Config)
	inForce := ch.inForce
	when := make([]string, len(changed))
	for i, c := range changed {
		when[i] = inForce.TakeOver(c, &next.Config)
	}
	if err := g.Change(inForce.Gateway); err != nil {
		config.LogUnread(ch.log, err)
		return
	}
	ch.setLevel(inForce.Log.Level)
	ch.broker.Store(&inForce.Broker)
	ch.inForce = inForce
	for i, c := range changed {
		c.Log(ch.log, when[i])
	}
	ch.log.Info("configuration read")
}
