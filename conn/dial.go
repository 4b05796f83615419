package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	dialTimeout      = 5 * time.Second // to open a TCP connection
	handshakeTimeout = 5 * time.Second // for TLS and AMQP together

	// refusalDelay is less than the time that RabbitMQ lets pass before it hangs up on wrong credentials (3 s), and more
	// than a broker that is going down takes.
	refusalDelay = time.Second
)

// A socket is the network connection under the library. Its deadline for each write is what keeps a dead peer from
// blocking the library, and us, for ever.
type socket struct {
	net.Conn
	timeout atomic.Int64 // nanoseconds for a write
	hungUp  atomic.Bool  // by the peer
}

func (s *socket) Write(b []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(time.Duration(s.timeout.Load()))); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(b)
	if err != nil {
		s.Conn.Close() // half a frame may be out: nothing can follow it
	}
	return n, err
}

func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
		s.hungUp.Store(true)
	}
	return n, err
}

// A link is one open AMQP connection with the socket below it.
type link struct {
	conn *amqp.Connection
	sock *socket
	line *line // nil without the data plane

	opening sync.Mutex // held while a channel is opened
}

// channel opens a channel. The library keeps its number to itself, but the data plane sees it pass.
func (l *link) channel() (_ *amqp.Channel, id uint16, err error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	ch, err := l.conn.Channel()
	if l.line != nil {
		id = l.line.lastOpened()
	}
	return ch, id, err
}

// dialLink opens a connection to e: TCP, TLS, AMQP. It returns in time whatever the peer does, or does not.
func dialLink(ctx context.Context, e endpoint, name string, o *options) (*link, error) {
	if e.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.timeout)
		defer cancel()
	}
	start := time.Now()
	uri, err := amqp.ParseURI(e.url)
	if err != nil {
		return nil, errors.New("URL cannot be read") // it has been
	}
	var sock *socket
	var shared *line
	unwatch := func() bool { return true }
	config := amqp.Config{
		Heartbeat: o.heartbeat,
		FrameSize: frameMax,
		Dial: func(network, _ string) (net.Conn, error) {
			c, err := o.dial(ctx, network, hostPort(uri.Host, uri.Port))
			if err != nil {
				return nil, err
			}
			sock = &socket{Conn: c}
			sock.timeout.Store(int64(handshakeTimeout))
			unwatch = context.AfterFunc(ctx, func() { c.Close() })
			if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
				return nil, err
			}
			secured, err := secure(ctx, sock, uri, o)
			if err != nil || o.library {
				return secured, err
			}
			shared = newLine(secured)
			return shared, nil
		},
		Properties: amqp.NewConnectionProperties(), // the library writes into them
	}
	config.Properties["connection_name"] = name
	config.Properties["product"] = "rabbitrpc"
	c, err := amqp.DialConfig(withoutTLS(e.url), config)
	if !unwatch() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if sock != nil {
			sock.Conn.Close()
		}
		return nil, handshakeError(err, sock, time.Since(start))
	}
	if h := c.Config.Heartbeat; h > 0 {
		sock.timeout.Store(int64(h))
		// The library does this with each frame that it reads, but undoes it after the last one of the handshake.
		sock.SetReadDeadline(time.Now().Add(h * 3 / 2))
	}
	return &link{conn: c, sock: sock, line: shared}, nil
}

// handshakeError tells a refusal from a loss. The library calls every loss between the credentials and their answer a
// refusal; a broker that refuses keeps quiet for a while, then hangs up.
func handshakeError(err error, sock *socket, took time.Duration) error {
	var e *amqp.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Server:
		return &Error{Code: e.Code, Reason: e.Reason}
	case e.Code == amqp.AccessRefused && e != amqp.ErrSASL && (!sock.hungUp.Load() || took < refusalDelay):
		return errors.New("connection lost in the handshake")
	case e.Code == amqp.AccessRefused:
		return &Error{Code: e.Code, Reason: e.Reason}
	default:
		return fmt.Errorf("handshake: %s; is this the AMQP port of a broker?", e.Reason)
	}
}

// close ends the connection in good order, or at the deadline.
func (l *link) close(deadline time.Time) error {
	err := l.conn.CloseDeadline(deadline)
	l.sock.Conn.Close()
	return err
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func defaultDial(heartbeat time.Duration) DialFunc {
	return (&net.Dialer{Timeout: dialTimeout, Control: userTimeout(heartbeat)}).DialContext
}
