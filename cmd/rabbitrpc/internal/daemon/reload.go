package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// readyLimit is how long a changed service may take until it takes calls; until then the old one serves.
const readyLimit = 30 * time.Second

// reloads reads the configuration again when it is asked to, until ctx ends.
func (d *Daemon) reloads(ctx context.Context) {
	for {
		select {
		case <-d.opts.Reloads:
			d.reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// reload applies what can be applied of a new configuration, and says of each key that has changed whether it was.
func (d *Daemon) reload(ctx context.Context) {
	if d.ready.Load() {
		d.system.reloading()
		defer func() { d.system.say("READY=1", d.status()) }()
	}
	for d.read(ctx) {
	}
}

// read is reload of one configuration. It reports whether there is a newer one, which takes its place.
func (d *Daemon) read(ctx context.Context) (newer bool) {
	next, err := d.opts.Reload()
	if err != nil {
		config.LogUnread(d.log, err)
		return false
	}
	changes := d.config.Changes(&next.Config)
	inForce := d.config
	ofServices := false
	for _, c := range changes {
		ofServices = ofServices || c.Service != ""
		if c.Service == "" && !strings.HasPrefix(c.Key, "gateway.") { // which is another process
			d.apply(c, &inForce, &next.Config)
		}
	}
	d.config = inForce
	if ofServices && d.Broker().Phase != conn.Connected {
		newer = d.awaitBroker(ctx)
	}
	if newer || ctx.Err() != nil {
		return newer
	}
	switch refused := d.reloadServices(ctx, changes, next.Config.Services); {
	case ctx.Err() != nil:
	case len(refused) > 0:
		d.log.Error("configuration read, and not all of it is in force", "services", strings.Join(refused, ", "))
	default:
		d.log.Info("configuration read")
	}
	return false
}

// awaitBroker waits for a connection with the broker, without which no new service would take calls, and reports whether the
// configuration is to be read again before: it may be what they wait for.
func (d *Daemon) awaitBroker(ctx context.Context) (newer bool) {
	d.log.Warn("no connection with the broker: services are changed once there is one")
	if d.ready.Load() {
		d.system.say("READY=1", d.status())
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{})
	d.background.Go(func() {
		defer close(over)
		_, _ = d.conn.Load().Session(waiting) // an error: it is to end
	})
	select {
	case <-over:
		return false
	case <-d.opts.Reloads:
		return true
	}
}

// apply takes over one key that is not of a service, if that is possible.
func (d *Daemon) apply(c config.Change, inForce, next *config.Config) {
	when := inForce.TakeOver(c, next)
	d.opts.SetLevel(inForce.Log.Level)
	b := inForce.Broker
	d.broker.Store(&b)
	c.Log(d.log, when)
}

// reloadServices starts, replaces and stops services, keeps in d.config which are in force then, and returns the names of those that
// cannot start. As long as there are any, none that is gone from the configuration is stopped: it may be one of them under its old name.
func (d *Daemon) reloadServices(ctx context.Context, changes []config.Change, next []config.Service) (refused []string) {
	var services []*service
	for i := range next {
		s := d.service(next[i].Name)
		var err error
		if s == nil {
			s, err = d.replace(ctx, nil, next[i], nil)
		} else if c, live := d.live(changes, s.config, next[i]); len(live) > 0 {
			s, err = d.replace(ctx, s, c, live)
		}
		if err != nil {
			refused = append(refused, next[i].Name)
		}
		if s != nil {
			services = append(services, s)
		}
	}
	removed := slices.DeleteFunc(d.current(), func(s *service) bool { return slices.Contains(services, s) })
	if len(refused) > 0 {
		services = append(services, removed...)
	}
	d.set(services, refused)
	d.config.Services = nil
	for _, s := range services {
		d.config.Services = append(d.config.Services, s.config)
	}
	for _, s := range removed {
		switch {
		case len(refused) == 0:
			d.retire(s)
			d.log.Info("applied", "key", "services."+s.config.Name, "when", "now: it is removed")
		case ctx.Err() == nil: // else all of them end
			d.log.Warn("not applied", "key", "services."+s.config.Name, "why", "it is gone, and serves until all the others do")
		}
	}
	return refused
}

func (d *Daemon) service(name string) *service {
	for _, s := range d.current() {
		if s.config.Name == name {
			return s
		}
	}
	return nil
}

// live returns what of next can take the place of old, and the changes in that. A queue keeps its arguments for ever, and a
// store has one user.
func (d *Daemon) live(changes []config.Change, old, next config.Service) (c config.Service, live []config.Change) {
	c = next
	c.Quorum, c.MaxQueue, c.Dedupe = old.Quorum, old.MaxQueue, old.Dedupe
	for _, change := range changes {
		if change.Service != next.Name {
			continue
		}
		key := strings.TrimPrefix(change.Key, "services."+next.Name+".")
		if key == "quorum" || key == "max_queue" || strings.HasPrefix(key, "dedupe.") {
			change.Log(d.log, "")
			continue
		}
		live = append(live, change)
	}
	return c, live
}

// replace starts a service in the place of old, which may be nil, and returns the one that is in force then: with an error, old.
func (d *Daemon) replace(ctx context.Context, old *service, c config.Service, changes []config.Change) (*service, error) {
	d.makeRoom(ctx, c.Name)
	s, err := d.build(ctx, c)
	if err == nil {
		s.start(ctx)
		if err = s.await(ctx); err != nil {
			s.stop()
			<-s.done
		}
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return old, err // it is to end: nothing is wrong
	case err != nil:
		d.log.Error("service not changed: what was in force stays so", "service", c.Name, "err", err)
		return old, err
	case old == nil:
		d.log.Info("applied", "key", "services."+c.Name, "when", "now: it is new")
	default:
		d.put(s, old) // who asks whether the service takes calls is to hear of the one that does
		d.retire(old)
		for _, change := range changes {
			change.Log(d.log, "now")
		}
	}
	d.background.Go(func() { d.guard(s) })
	return s, nil
}

// await waits until a service takes calls.
func (s *service) await(ctx context.Context) error {
	limit := time.NewTimer(readyLimit)
	defer limit.Stop()
	select {
	case <-s.server.Ready():
		return nil
	case <-s.done:
		return s.failure()
	case <-limit.C:
		return fmt.Errorf("it takes no calls after %v: is the broker there?", readyLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
}
