package chaos

import (
	"fmt"
	"strings"
)

// A child of a child of ours is one that we can signal, but not wait for.
type child struct {
	pid   int
	state string // T: stopped. Z: ended, and its parent has not noticed. Another: it runs, or may run.
}

// toStrays sends s to the children that have left the group, until each is in one of the states.
func (p *process) toStrays(s signal, states string) error {
	if !p.strays {
		return nil
	}
	return p.settle(func() (left error) {
		for _, c := range children(p.cmd.Process.Pid) {
			if !strings.Contains(states, c.state) {
				signalProcess(c.pid, s) // an error: it has just ended
				left = fmt.Errorf("child %d is in state %s", c.pid, c.state)
			}
		}
		return left
	})
}

// resume lets a frozen process go on, and its children.
func (p *process) resume() error {
	if p.strays {
		for _, c := range children(p.cmd.Process.Pid) {
			signalProcess(c.pid, resume) // an error: it has just ended
		}
	}
	return p.signal(resume)
}
