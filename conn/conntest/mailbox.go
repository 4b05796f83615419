package conntest

import "sync"

// A mailbox hands callbacks to one goroutine, in order, so that they run under no lock and block nobody else.
type mailbox struct {
	mu     sync.Mutex // guards queue, closed
	queue  []func()
	closed bool
	wake   chan struct{} // buffered 1
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) put(f func()) {
	m.mu.Lock()
	m.queue = append(m.queue, f)
	m.mu.Unlock()
	m.signal()
}

// close makes run return once it has run what is in the mailbox.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run runs callbacks until done is closed, which drops those that are left, or until the mailbox is closed and empty.
func (m *mailbox) run(done <-chan struct{}) {
	for {
		f, closed := m.next()
		select {
		case <-done:
			return
		default:
		}
		switch {
		case f != nil:
			f()
		case closed:
			return
		default:
			select {
			case <-m.wake:
			case <-done:
				return
			}
		}
	}
}

func (m *mailbox) next() (f func(), closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil, m.closed
	}
	f = m.queue[0]
	m.queue = m.queue[1:]
	return f, m.closed
}
