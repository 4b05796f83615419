package daemon

import (
	"context"
	"slices"
	"time"
)

const (
	// maxDraining is how many lives of a service may drain beside the one that serves. A further change of it waits.
	maxDraining = 4

	// retireWait is how long a reload waits for a drain: most are over by then, and what the log says is true at once.
	retireWait = 250 * time.Millisecond
)

// retire drains a service whose place is taken, or that is gone. What runs for longer than a moment goes on in the background.
func (d *Daemon) retire(s *service) {
	d.mu.Lock()
	d.retired = append(d.retired, s)
	d.mu.Unlock()
	s.stop()
	moment := time.NewTimer(retireWait)
	defer moment.Stop()
	select {
	case <-s.done:
	case <-moment.C:
	}
}

// gone takes leave of a service that has ended, and reports whether it was retired.
func (d *Daemon) gone(s *service) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.retired)
	d.retired = slices.DeleteFunc(d.retired, func(r *service) bool { return r == s })
	return len(d.retired) < n
}

// makeRoom waits while as many lives of a service drain as may, until ctx ends.
func (d *Daemon) makeRoom(ctx context.Context, name string) {
	for {
		draining := d.drainingOf(name)
		if len(draining) < maxDraining {
			return
		}
		d.log.Warn("waiting for a drain", "service", name, "lives", len(draining))
		select {
		case <-draining[0].done:
		case <-ctx.Done():
			return
		}
	}
}

// drainingOf returns the lives of a service that drain, the oldest first.
func (d *Daemon) drainingOf(name string) (draining []*service) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.retired {
		select {
		case <-s.done:
		default:
			if s.config.Name == name {
				draining = append(draining, s)
			}
		}
	}
	return draining
}
