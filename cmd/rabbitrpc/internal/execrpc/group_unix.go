//go:build unix

package execrpc

import (
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// supported is nil where a program can lead a process group.
func supported() error { return nil }

// A group is a running program and what it has started, as far as that stays in its process group.
type group struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended, and all that it wrote was read
	err  error         // of the command; to read after done

	mu    sync.Mutex // guards ended, and that no signal is sent after
	ended bool       // the number of the group may be another's by now
}

// startGroup starts cmd as the leader of a group. WaitDelay bounds how long a child that has left the group can keep its
// output open.
func startGroup(cmd *exec.Cmd) (*group, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	cmd.WaitDelay = waitDelay
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g := &group{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(g.done)
		g.err = g.wait()
	}()
	return g, nil
}

// killRest ends what the program has left behind, which may hold its output open. From here on nobody is signalled.
func (g *group) killRest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL) // an error: nobody is left
}

// waitDelay is for a child that has left the group and holds the program's output open: the call does not wait for it.
const waitDelay = time.Second

// signal sends s to the group, unless that has ended.
func (g *group) signal(s syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		syscall.Kill(-g.cmd.Process.Pid, s) // an error: nobody is left
	}
}

// stop ends the group: with SIGTERM, and after the grace with SIGKILL. It returns when the group has ended.
func (g *group) stop(grace time.Duration) {
	g.signal(syscall.SIGTERM)
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-g.done:
		return
	case <-t.C:
	}
	g.signal(syscall.SIGKILL)
	<-g.done
}
