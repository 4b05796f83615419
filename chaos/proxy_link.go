package chaos

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A link is a client's connection, and the one to the broker behind it.
type link struct {
	proxy  *Proxy
	number int // in the order in which clients came
	client *net.TCPConn
	broker *net.TCPConn // nil before it is dialled, and with an impostor in its place
	amqp   atomic.Bool
	name   atomic.Pointer[string] // of the connection, once it is known
	done   chan struct{}
	once   sync.Once

	toBroker, toClient *pipe
}

func newLink(p *Proxy, client *net.TCPConn) *link {
	l := &link{proxy: p, client: client, done: make(chan struct{})}
	l.toBroker, l.toClient = newPipe(l, ToBroker), newPipe(l, ToClient)
	return l
}

// attach connects the two sides, unless the link has been ended meanwhile.
func (l *link) attach(broker *net.TCPConn) bool {
	l.proxy.mu.Lock() // against those who end it
	defer l.proxy.mu.Unlock()
	select {
	case <-l.done:
		return false
	default:
	}
	if l.toBroker.dead.Load() {
		return false
	}
	l.broker = broker
	l.toBroker.src, l.toBroker.dst = l.client, broker
	l.toClient.src, l.toClient.dst = broker, l.client
	return true
}

// run forwards until there is nothing more to forward.
func (l *link) run() {
	var wg sync.WaitGroup
	wg.Go(l.toBroker.read)
	l.toClient.read()
	wg.Wait()
	l.once.Do(l.close)
}

// impersonate is what an impostor does.
func (l *link) impersonate(f Impostor) {
	io.WriteString(l.client, f.Says)
	if f.Closes {
		l.client.CloseWrite()
	}
	l.discard()
}

// discard reads what nobody is to have.
func (l *link) discard() {
	io.Copy(io.Discard, l.client)
	l.once.Do(l.close)
}

func (l *link) close() {
	close(l.done)
	l.client.Close()
	if l.broker != nil {
		l.broker.Close()
	}
}

// abort resets both connections, and reports whether they were open.
func (l *link) abort() (open bool) {
	l.once.Do(func() {
		open = true
		l.client.SetLinger(0)
		if l.broker != nil {
			l.broker.SetLinger(0)
		}
		l.close()
	})
	return open
}

// reset ends the link as [Reset] says.
func (l *link) reset(dir Direction) {
	if dir == Both {
		l.abort()
		return
	}
	for _, told := range l.silence(dir) {
		told.SetLinger(0)
		told.Close()
	}
}

// hangUp ends the link as [HangUp] says.
func (l *link) hangUp(dir Direction) {
	for _, told := range l.silence(dir) {
		told.CloseWrite()
	}
}

// silence lets nothing more through, and returns who is to be told of the end.
func (l *link) silence(dir Direction) (told []*net.TCPConn) {
	l.toBroker.dead.Store(true)
	l.toClient.dead.Store(true)
	if dir.includes(ToClient) {
		told = append(told, l.client)
	}
	if dir.includes(ToBroker) && l.broker != nil {
		told = append(told, l.broker)
	}
	return told
}

// other returns the pipe of the other direction.
func (l *link) other(p *pipe) *pipe {
	if p == l.toBroker {
		return l.toClient
	}
	return l.toBroker
}
