package chaos

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const bufferSize = 64 << 10

// A pipe is one direction of a link. Its reader takes from one side, finds the methods that a fault waits for, and sends
// on the rest.
type pipe struct {
	link    *link
	dir     Direction
	src     *net.TCPConn
	dst     *net.TCPConn
	scanner scanner
	started bool
	at      map[uint16]*message // messages that faults are at work on, by channel
	copied  int                 // bytes kept for duplicates
	queue   *queue
	wg      sync.WaitGroup // writers
	dead    atomic.Bool    // nothing reaches the other side any more

	// Whoever delivers has these, the reader or the writer.
	passed   map[*Injection]int // bytes since then
	counting *faults            // when passed was last tidied up
}

func newPipe(l *link, dir Direction) *pipe {
	p := &pipe{link: l, dir: dir, at: make(map[uint16]*message), passed: make(map[*Injection]int)}
	p.queue = newQueue(func() { p.wg.Go(p.write) })
	return p
}

func (p *pipe) now() *faults { return p.link.proxy.faults.Load() }

// read is the reader. It returns when there is nothing to read any more and all that was read is delivered.
func (p *pipe) read() {
	defer p.wg.Wait()
	b := make([]byte, bufferSize)
	kept := 0
	for {
		n, err := p.src.Read(b[kept:])
		kept = copy(b, p.scan(b[:kept+n]))
		switch {
		case err == io.EOF:
			p.send(entry{data: b[:kept]})
			p.send(entry{end: true})
			return
		case err != nil:
			p.tell()
			return
		}
	}
}

// scan sends on what no fault waits for, in as few pieces as can be. It returns the start of a frame that is not there yet.
func (p *pipe) scan(b []byte) (rest []byte) {
	if len(b) > 0 && !p.started {
		p.begin()
	}
	now := p.now()
	from, to := 0, 0 // of b: what can go in one piece
	for {
		x := p.scanner.next(b[to:])
		if len(x.data) == 0 {
			break
		}
		if x.frame != nil && p.concerned(x, now) {
			p.pass(b[from:to], false)
			p.treat(x)
			from = to + len(x.data)
		}
		to += len(x.data)
	}
	p.pass(b[from:to], p.scanner.left > 0)
	return b[to:]
}

// begin decides whether to look for frames: a client that speaks AMQP speaks first.
func (p *pipe) begin() {
	p.started = true
	if p.dir == ToBroker {
		p.scanner.greets = true
	} else {
		p.scanner.raw = !p.link.amqp.Load()
	}
}

// concerned reports whether there is more to do with x than to send it on.
func (p *pipe) concerned(x piece, now *faults) bool {
	if x.first {
		switch x.frame.kind {
		case greetingFrame:
			p.link.amqp.Store(true) // before the broker can answer
		case methodFrame, heartbeatFrame:
			if name := x.frame.name; name != "" {
				p.link.name.Store(&name)
			}
			p.meet(x.frame, now)
		}
	}
	return len(p.at) > 0 && p.at[x.frame.channel] != nil || p.queue.holds(x.frame.channel)
}

// pass sends on data that is part of no held channel.
func (p *pipe) pass(data []byte, part bool) {
	if len(data) > 0 {
		p.send(p.late(entry{data: data, part: part}))
	}
}

// late adds the latency.
func (p *pipe) late(e entry) entry {
	if f, in := newest[Latency](p, p.now()); in != nil {
		e.by, e.due = in, time.Now().Add(f.Delay-f.Jitter+rand.N(2*f.Jitter+1))
		in.bite()
	}
	return e
}

// send puts e in line, or delivers it if there is none.
func (p *pipe) send(e entry) {
	if p.queue.push(e) {
		p.wait()
	} else {
		p.deliver(e)
	}
}

// hold puts e in the lane of its channel, or sends it on if there is none.
func (p *pipe) hold(channel uint16, e entry) {
	if p.queue.hold(channel, e) {
		p.wait()
	} else {
		p.send(p.late(e))
	}
}

// wait makes the reader wait until the queue has room.
func (p *pipe) wait() {
	for p.queue.full() {
		select {
		case <-p.queue.room:
		case <-p.link.done:
			return
		}
	}
}

// write is a writer: it delivers what is in the queue, until there is nothing.
func (p *pipe) write() {
	for {
		now := p.now()
		e, ok, again := p.queue.next(time.Now())
		switch {
		case ok:
			p.deliver(e)
			continue
		case again.IsZero():
			return
		}
		if !p.sleep(time.Until(again), now, p.queue.more) {
			return
		}
	}
}

// sleep lets time pass. It ends early when faults change or more is there, and is false if the link has ended.
func (p *pipe) sleep(d time.Duration, now *faults, more <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-more:
	case <-now.changed:
	case <-p.link.done:
		return false
	}
	return true
}
