package status

import (
	"context"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/server"
)

// An until is something that is in order until a context ends.
type until struct {
	name  string
	mu    sync.Mutex // guards what follows
	over  bool
	since time.Time
}

// Until adds a check, before the board is asked: that of a part of the process that drains when ctx ends.
func (b *Board) Until(ctx context.Context, name string) {
	u := &until{name: name, since: time.Now()}
	b.untils = append(b.untils, u)
	context.AfterFunc(ctx, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.over, u.since = true, time.Now()
	})
}

func (u *until) check() Check {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := Check{Name: u.name, OK: !u.over, For: time.Since(u.since).Seconds(), Text: "serving"}
	if u.over {
		c.Text = "draining"
	}
	return c
}

// Checks says what must be so for the process to be ready: it is connected, and each of its services takes calls.
func (b *Board) Checks() []Check {
	var checks []Check
	for _, l := range b.links {
		checks = append(checks, l.check())
	}
	for _, u := range b.untils {
		checks = append(checks, u.check())
	}
	if b.servers == nil {
		return checks
	}
	servers := b.servers()
	if len(servers) == 0 {
		checks = append(checks, Check{Name: "services", For: time.Since(b.start).Seconds(), Text: "being set up"})
	}
	for _, s := range servers {
		state := s.State()
		c := Check{
			Name: "service " + s.Service(), OK: state.Phase == server.Serving,
			For: time.Since(state.Since).Seconds(), Text: state.Phase.String(),
		}
		if st := s.Stats(); c.OK && st.Stuck >= int64(st.Workers) {
			c.OK, c.Text = false, "serving, but requests that are overdue hold all workers"
		}
		if state.Err != nil {
			c.Text += ": " + printable(cut(state.Err.Error()))
		}
		checks = append(checks, c)
	}
	return checks
}

// Ready reports whether all checks are passed.
func Ready(checks []Check) bool {
	for _, c := range checks {
		if !c.OK {
			return false
		}
	}
	return true
}
