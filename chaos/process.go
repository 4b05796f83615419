package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// A process is a child that leads a process group of its own. A nil process is one that has ended.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended
	err  error         // how it ended; to read after done

	logOffset int64 // where its part of the log begins, if it is a server
	strays    bool  // its children leave its group
}

// start starts a command made by the guard.
func (g *guard) start(cmd *exec.Cmd) (*process, error) {
	if err := g.ns.do(cmd.Start); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() { // ended by kill, or by the child
		defer close(p.done)
		p.err = cmd.Wait()
		// At once, since from now on the number is free for others.
		p.signal(kill) // what the leader has left behind
		os.Remove(filepath.Join(g.runDir(), strconv.Itoa(cmd.Process.Pid)))
	}()
	return p, nil
}

func (p *process) alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends s to the process and its group.
func (p *process) signal(s signal) error {
	if err := signalGroup(p.cmd.Process.Pid, s); err != nil {
		return fmt.Errorf("signal process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// freeze stops the process, and waits until no thread of it runs any more.
func (p *process) freeze() error {
	if err := p.signal(pause); err != nil {
		return err
	}
	err := p.settle(func() error {
		if !frozen(p.cmd.Process.Pid) {
			return errors.New("some of it still runs")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.toStrays(pause, "TZ") // now that there can be no new ones
}

// kill ends the process and its group, and waits for that.
func (p *process) kill() {
	if !p.alive() {
		return
	}
	if p.strays && p.freeze() == nil { // an error: it has just ended
		p.toStrays(kill, "Z") // before it, or nobody knows any more that they were its children
	}
	p.signal(kill) // an error: it has just ended
	<-p.done
}

// settle polls try until it succeeds, which it does once a signal has taken effect.
func (p *process) settle(try func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), freezeTimeout)
	defer cancel()
	return p.await(ctx, try)
}
