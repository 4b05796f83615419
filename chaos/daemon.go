package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
)

// ErrDown tells that a server is not running: there is nothing to kill, pause or resume.
var ErrDown = errors.New("it is down")

// A daemon is what the servers have in common: it dies and lives again, with the same port and the same data.
type daemon struct {
	title   string // in errors
	guard   *guard
	command func() *exec.Cmd                      // for one more life
	probe   func(context.Context, *process) error // tells whether a life is ready
	end     signal                                // asks it for a shutdown in good order
	strays  bool                                  // its children don't stay in its process group
	helper  *process                              // what it needs before its first life; nil if there is none
	log     string                                // a file; if empty, one in the guard's folder

	mu     sync.Mutex // guards what follows
	latest *process   // the latest life; nil before the first
	closed bool

	closing  sync.Once
	closeErr error
}

// Log returns the path of the server's log, which holds all its lives.
func (d *daemon) Log() string { return cmp.Or(d.log, filepath.Join(d.guard.dir, logFile)) }

// Start starts a server that was stopped or killed, with the ports and the data that it had, and waits until it answers,
// a minute at most. Of a running server it only waits. If a start fails, or ctx ends, the server is down.
func (d *daemon) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, launched, err := d.launch()
	if err != nil {
		return fmt.Errorf("start %s: %w", d.title, err)
	}
	if err := p.await(ctx, func() error { return d.probe(ctx, p) }); err != nil {
		if launched {
			p.kill()
		}
		return fmt.Errorf("start %s: %w\n%s", d.title, err, reason(d.Log(), p.logOffset))
	}
	return nil
}

// launch returns the running process, and whether this call is what made it run.
func (d *daemon) launch() (p *process, launched bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false, errors.New("it is closed")
	}
	if d.latest.alive() {
		return d.latest, false, nil
	}
	log, offset, err := openLog(d.Log())
	if err != nil {
		return nil, false, err
	}
	defer log.Close() // the server has a copy
	cmd := d.command()
	cmd.Stdout, cmd.Stderr = log, log
	if p, err = d.guard.start(cmd); err != nil {
		return nil, false, err
	}
	p.logOffset, p.strays = offset, d.strays
	d.latest = p
	return p, true, nil
}

// Stop shuts the server down in good order: it tells its clients and keeps its durable data. If ctx ends before that is
// done, the shutdown goes on. A paused server is resumed for it.
func (d *daemon) Stop(ctx context.Context) error {
	p, err := d.running()
	if err != nil {
		return nil // stopped already
	}
	p.signal(d.end) // an error: it has just ended
	p.resume()      // or a paused server keeps the other signal for later
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", d.title, context.Cause(ctx))
	}
}

// Restart is Stop and Start.
func (d *daemon) Restart(ctx context.Context) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	return d.Start(ctx)
}

// Kill ends the server at once (SIGKILL): it can neither flush nor say goodbye. It returns when all of it is gone.
func (d *daemon) Kill() error {
	p, err := d.running()
	if err != nil {
		return fmt.Errorf("kill %s: %w", d.title, err)
	}
	p.kill()
	return nil
}

// Pause freezes the server (SIGSTOP). Its connections stay open, and from when Pause returns, nothing comes from them.
func (d *daemon) Pause() error {
	p, err := d.running()
	if err == nil {
		err = p.freeze()
	}
	if err != nil {
		return fmt.Errorf("pause %s: %w", d.title, err)
	}
	return nil
}

// Resume lets a paused server go on.
func (d *daemon) Resume() error {
	p, err := d.running()
	if err == nil {
		err = p.resume()
	}
	if err != nil {
		return fmt.Errorf("resume %s: %w", d.title, err)
	}
	return nil
}

// running returns the server's process. The error is ErrDown.
func (d *daemon) running() (*process, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.latest.alive() {
		return nil, ErrDown
	}
	return d.latest, nil
}

// Close ends the server and removes all that it wrote. More calls return the same error.
func (d *daemon) Close() error {
	d.closing.Do(func() {
		d.mu.Lock()
		d.closed = true // no life after this one
		latest := d.latest
		d.mu.Unlock()

		latest.kill()
		if err := d.guard.close(d.helper); err != nil {
			d.closeErr = fmt.Errorf("close %s: %w", d.title, err)
		}
	})
	return d.closeErr
}
