package simulation

import (
	"context"
	"time"
)

// What takes longer than a moment, or needs more than one process.

// crash ends a server, and starts it again after a while.
func (w *world) crash(p *process, f fault) {
	p.crash()
	w.replace(p, f.d)
}

// replace starts the next life of a server after d, if p is its present one.
func (w *world) replace(p *process, d time.Duration) {
	w.later.Go(func() {
		time.Sleep(d)
		p.mu.Lock()
		done := p.replaced
		p.replaced = true
		p.mu.Unlock()
		if !done {
			w.start(p.i)
		}
	})
}

// drain stops a server as SIGTERM does. Its process, and the session in it, live on for others.
func (w *world) drain(p *process, f fault) {
	w.later.Go(p.stop)
	w.replace(p, f.d)
}

// pause has a server take no requests for a while.
func (w *world) pause(p *process, f fault) {
	p.server.Pause()
	w.later.Go(func() { time.Sleep(f.d); p.server.Resume() })
}

// when does something once a fault has struck, if it ever does.
func (w *world) when(struck <-chan struct{}, do func()) {
	w.later.Go(func() {
		select {
		case <-struck:
			do()
		case <-w.over:
		}
	})
}

// freezeForEver freezes a server for longer than anything is remembered, if there is another one.
func (w *world) freezeForEver(p *process) {
	w.mu.Lock()
	first := !w.frozen && len(w.servers) > 1
	w.frozen = true
	w.mu.Unlock()
	if first {
		p.freeze(retention + 10*time.Second)
	}
}

// deleteQueue deletes a queue, as an operator does.
func (w *world) deleteQueue(name string) {
	ctx := context.Background()
	c := w.broker.Connector("operator")
	defer c.Close(ctx)
	s, err := c.Session(ctx)
	if err == nil {
		err = s.DeleteQueue(ctx, name)
	}
	if err != nil {
		w.note("queue not deleted: %v", err)
	}
}
