package postgres_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"
)

// line is what the connections of a store run through. It knows PostgreSQL's protocol well enough to meet a
// statement.
type line struct {
	url string // of the database, through the line
	l   net.Listener
	wg  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string     // host and port
	links  map[*link]bool
	held   chan struct{} // nil while it forwards
	down   bool
	fault  fault
	name   []byte // of the statement that meets it
}

// fault is what happens to the next execution of a statement. Then there is none.
type fault int

const (
	none             fault = iota
	lost                   // it is not delivered, and the connection ends
	lostUnnoticed          // it is not delivered, and the connection ends for the client only
	unanswered             // it is delivered, and the connection ends before the answer
	unansweredForNow       // the same, and there are no new connections
)

// link is one connection. A deaf one ends when the server says something.
type link struct {
	client, server net.Conn
	deaf           bool
}

func newLine(t testing.TB, database string) *line {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{target: u.Host, l: l, links: make(map[*link]bool)}
	u.Host = l.Addr().String()
	n.url = u.String()
	n.wg.Go(n.accept)
	t.Cleanup(func() {
		l.Close()
		n.release()
		n.cut()
		n.wg.Wait()
	})
	return n
}

func (n *line) accept() {
	for {
		client, err := n.l.Accept()
		if err != nil {
			return
		}
		n.mu.Lock()
		target := n.target
		n.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		k := &link{client: client, server: server}
		n.mu.Lock()
		n.links[k] = true
		down := n.down
		n.mu.Unlock()
		if down {
			n.end(k)
			continue
		}
		n.wg.Go(func() { n.forward(k, client, server) })
		n.wg.Go(func() { n.forward(k, server, client) })
	}
}

func (n *line) forward(k *link, in, out net.Conn) {
	buffer := make([]byte, 1<<16)
	for {
		size, err := in.Read(buffer)
		n.mu.Lock()
		held, deaf := n.held, k.deaf
		n.mu.Unlock()
		switch {
		case err != nil && in == k.client && deaf:
			return // the client is gone, and the server does not know it
		case err != nil || in == k.server && deaf:
			n.end(k)
			return
		}
		if held != nil {
			<-held
		}
		if in == k.client && !n.meet(k, buffer[:size]) {
			return
		}
		if _, err := out.Write(buffer[:size]); err != nil {
			n.end(k)
			return
		}
	}
}

// meet has the fault, if there is one, meet its statement. It returns whether to deliver the data.
func (n *line) meet(k *link, data []byte) bool {
	n.mu.Lock()
	f := n.fault
	if f == none || !bytes.Contains(data, n.name) {
		n.mu.Unlock()
		return true
	}
	n.fault = none
	k.deaf = f != none
	n.down = n.down || f == unansweredForNow
	n.mu.Unlock()
	switch f {
	case lost:
		n.end(k)
	case lostUnnoticed:
		k.client.Close()
	}
	return f != lost && f != lostUnnoticed
}

func (n *line) end(k *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k.client.Close()
	k.server.Close()
	delete(n.links, k)
}

// hold leaves all connections open and forwards nothing, until release.
func (n *line) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = make(chan struct{})
}

func (n *line) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held != nil {
		close(n.held)
		n.held = nil
	}
}

// lead has new connections lead to another host and port, as an address does that moves.
func (n *line) lead(target string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.target = target
}

// open returns how many connections there are.
func (n *line) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.links)
}

// cut ends all connections.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k := range n.links {
		k.client.Close()
		k.server.Close()
	}
}

// refuse ends new connections at once.
func (n *line) refuse(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// next orders a fault for the statement of that name.
func (n *line) next(f fault, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault, n.name = f, []byte("\x00"+name+"\x00") // as it is executed, not as it is prepared
}
