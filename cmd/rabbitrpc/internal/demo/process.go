package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
)

// A process is a server of the demo. It ends with this one, even if that is killed: its standard input is a pipe that
// only this process holds open.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan struct{}
	ended chan struct{}
}

// An event is a server's word that it has begun to run the slow call n.
type event struct {
	server string
	n      int
}

// addServer starts one more server and waits until it serves.
func (d *demo) addServer(ctx context.Context) (*process, error) {
	p := &process{
		name:  fmt.Sprintf("server-%d", len(d.servers)+1),
		ready: make(chan struct{}),
		ended: make(chan struct{}),
	}
	p.cmd = d.Server(p.name, d.node.URL())
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	d.servers = append(d.servers, p)
	go p.follow(out, d.events) // until kill
	select {
	case <-p.ready:
		d.say("%s serves, process %d", p.name, p.cmd.Process.Pid)
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s ended: %v", p.name, p.cmd.ProcessState)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// follow reads what the server says until it ends.
func (p *process) follow(out io.Reader, events chan<- event) {
	defer close(p.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, n, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case sayReady:
			close(p.ready)
		case sayRun:
			n, _ := strconv.Atoi(n)
			events <- event{p.name, n}
		}
	}
	p.cmd.Wait() // how it ended is in its state
}

// kill ends the server at once and waits until it is gone.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
	p.stdin.Close()
}

// address is a URL without credentials.
func address(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "an unknown address"
	}
	return u.Host
}
