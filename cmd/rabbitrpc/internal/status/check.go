package status

import (
	"time"

	"github.com/rabbitrpc/rabbitrpc/server"
)

// Checks says what must be so for the process to be ready: it is connected, and each of its services takes calls.
func (b *Board) Checks() []Check {
	var checks []Check
	for _, l := range b.links {
		checks = append(checks, l.check())
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
