package conn

import "sync"

// A backlog is what a consumer that is not prompt has still to be handed. The prefetch bounds it; without acknowledgements
// nothing can: the reader must not wait.
type backlog struct {
	mu     sync.Mutex // guards what follows
	queue  []*Delivery
	closed bool
	more   chan struct{} // holds a token if there may be something new
}

func (b *backlog) init() { b.more = make(chan struct{}, 1) }

func (b *backlog) add(d *Delivery) {
	b.mu.Lock()
	b.queue = append(b.queue, d)
	b.mu.Unlock()
	b.wake()
}

// close lets run end when all is handed over.
func (b *backlog) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wake()
}

func (b *backlog) wake() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// run hands over, one after the other, until close or the end of the session.
func (b *backlog) run(done <-chan struct{}, handle func(*Delivery)) {
	for {
		b.mu.Lock()
		batch, closed := b.queue, b.closed
		b.queue = nil
		b.mu.Unlock()
		for _, d := range batch {
			select {
			case <-done:
				return
			default:
				handle(d)
			}
		}
		if len(batch) > 0 {
			continue
		}
		if closed {
			return
		}
		select {
		case <-b.more:
		case <-done:
			return
		}
	}
}
