package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/singleflight"
)

const (
	dialTimeout      = 5 * time.Second  // to open a TCP connection
	handshakeTimeout = 5 * time.Second  // for TLS and AMQP together
	askTimeout       = 10 * time.Second // for the credentials, or the TLS configuration, to be read

	// refusalDelay is less than the time that RabbitMQ lets pass before it hangs up on wrong credentials (3 s), and more
	// than a broker that is going down takes.
	refusalDelay = time.Second
)

// A socket is the network connection under the library. Its deadline for each write is what keeps a dead peer from
// blocking the library, and us, for ever.
type socket struct {
	net.Conn
	timeout atomic.Int64 // nanoseconds for a write
	lost    atomic.Bool  // reading has failed, and not since the peer has hung up
	overdue atomic.Bool  // the peer has let a deadline pass
	first   atomic.Int32 // the first byte of the peer, and 256; 0 before it

	mu     sync.Mutex  // held while something is written; guards what follows, and changes of behind
	until  time.Time   // of who is in a hurry; else zero
	left   []byte      // what was not written by then
	behind atomic.Bool // there is something left
}

// socketOf returns the socket below a connection, or nil.
func socketOf(c net.Conn) *socket {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, _ := c.(*socket)
	return s
}

// hurry has the writes that follow take so long together, at most, or all the time that they need if patience is 0. It writes what
// is left of those before.
func (s *socket) hurry(patience time.Duration) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until = (time.Time{}); patience > 0 {
		s.until = time.Now().Add(patience)
	}
	if !s.behind.Swap(false) {
		return nil
	}
	left := s.left
	s.left = nil
	_, err := s.write(left)
	return err
}

// late reports whether something is left that was to be written in a hurry. It never waits.
func (s *socket) late() bool { return s != nil && s.behind.Load() }

func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late() { // b is the rest of what TLS makes of one write
		s.left = append(s.left, b...)
		return len(b), nil
	}
	return s.write(b)
}

// write is called with the mutex locked.
func (s *socket) write(b []byte) (int, error) {
	deadline := s.until
	if deadline.IsZero() {
		deadline = time.Now().Add(time.Duration(s.timeout.Load()))
	}
	if err := s.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(b)
	if err == nil {
		return n, nil
	}
	if !s.until.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) { // TLS must not learn of it: it would be of no use any more
		s.left = append(s.left, b[n:]...)
		s.behind.Store(true)
		return len(b), nil
	}
	s.Conn.Close() // half a frame may be out: nothing can follow it
	return n, err
}

func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 && s.first.Load() == 0 {
		s.first.Store(256 + int32(b[0]))
	}
	if err != nil && err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		s.lost.Store(true)
		s.overdue.Store(errors.Is(err, os.ErrDeadlineExceeded))
	}
	return n, err
}

// A link is one open AMQP connection with the socket below it.
type link struct {
	conn *amqp.Connection
	sock *socket
	line *line     // nil without the data plane
	tls  *tls.Conn // nil without TLS

	opening sync.Mutex // held while a channel is opened
}

var errNoChannel = errors.New("all channels that the broker allows are in use")

// channel opens a channel. The library keeps its number to itself, but the data plane sees it pass.
func (l *link) channel() (_ *amqp.Channel, id uint16, err error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	ch, err := l.conn.Channel()
	if errors.Is(err, amqp.ErrChannelMax) {
		err = errNoChannel
	}
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
	var sock *socket
	var shared *line
	var identity *tls.Config // nil without TLS
	var secured *tls.Conn
	unwatch := func() bool { return true }
	config := amqp.Config{
		Heartbeat: o.heartbeat,
		FrameSize: frameMax,
		Dial: func(network, _ string) (net.Conn, error) {
			c, err := o.dial(ctx, network, hostPort(e.uri.Host, e.uri.Port))
			if err != nil {
				return nil, err
			}
			sock = &socket{Conn: c}
			sock.timeout.Store(int64(handshakeTimeout))
			unwatch = context.AfterFunc(ctx, func() { c.Close() })
			if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
				return nil, err
			}
			var below net.Conn = sock
			if identity != nil {
				if secured, err = secure(ctx, sock, identity); err != nil {
					return nil, err
				}
				below = secured
			}
			if o.library {
				return below, nil
			}
			shared = newLine(below)
			return shared, nil
		},
		Properties: amqp.NewConnectionProperties(), // the library writes into them
	}
	config.Properties["connection_name"] = name
	config.Properties["product"] = "rabbitrpc"
	var err error
	if identity, err = o.identify(ctx, &config, &e.uri); err != nil {
		return nil, err
	}
	c, err := amqp.DialConfig(withoutTLS(e.url), config)
	ended := !unwatch()
	if ended && (err == nil || errors.Is(err, net.ErrClosed)) {
		err = ctx.Err()
	}
	if err != nil {
		if sock != nil {
			sock.Conn.Close()
			sock.overdue.CompareAndSwap(false, ended)
		}
		return nil, handshakeError(err, e, sock, time.Since(start))
	}
	if h := c.Config.Heartbeat; h > 0 {
		sock.timeout.Store(int64(h))
		// The library does this with each frame that it reads, but undoes it after the last one of the handshake.
		sock.SetReadDeadline(time.Now().Add(h * 3 / 2))
	}
	return &link{conn: c, sock: sock, line: shared, tls: secured}, nil
}

// identify adds who we are, as far as the URL does not say, and returns whom we trust: nil without TLS.
func (o *options) identify(ctx context.Context, config *amqp.Config, u *amqp.URI) (*tls.Config, error) {
	if o.login != nil {
		who, err := ask(ctx, o.asked, "read the credentials", func() (auth amqp.PlainAuth, err error) {
			auth.Username, auth.Password, err = o.login()
			return auth, err
		})
		if err != nil {
			return nil, err
		}
		if who.Username != "" {
			config.SASL = []amqp.Authentication{&who}
		}
	}
	if u.Scheme != "amqps" {
		return nil, nil
	}
	var given *tls.Config
	var err error
	if o.tls != nil {
		if given, err = ask(ctx, o.asked, "read the TLS configuration", o.tls); err != nil {
			return nil, err
		}
	}
	return tlsConfig(u, given)
}

// ask has a function of the user's, which may never return, answer in time. While it does not, no other is started.
func ask[T any](ctx context.Context, asked *singleflight.Group, what string, f func() (T, error)) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	select {
	case r := <-asked.DoChan(what, func() (any, error) { return f() }):
		if err = r.Err; err == nil {
			return r.Val.(T), nil
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	return answer, fmt.Errorf("%s: %w", what, err)
}

// handshakeError tells a refusal from a loss. The library calls every loss between the credentials and their answer a
// refusal; a broker that refuses keeps quiet for a while, then hangs up.
func handshakeError(err error, e endpoint, sock *socket, took time.Duration) error {
	var answer *amqp.Error
	switch {
	case !errors.As(err, &answer) && e.uri.Scheme == "amqps":
		return tlsError(err, e.uri.Host)
	case !errors.As(err, &answer):
		return err
	case answer.Server:
		return &Error{Code: answer.Code, Reason: answer.Reason}
	case strings.Contains(answer.Reason, alertPrefix):
		return alertError(answer.Reason)
	case e.uri.Scheme == "amqp" && sock.first.Load() == 256+tlsAlert:
		return &TLSError{"the broker speaks it on this port", "use amqps://, or the port for amqp://, usually 5672", nil}
	case sock.overdue.Load():
		return fmt.Errorf("handshake: no answer within %v", took.Round(100*time.Millisecond))
	case answer.Code == amqp.AccessRefused && answer != amqp.ErrSASL && (sock.lost.Load() || took < refusalDelay):
		return errors.New("connection lost in the handshake")
	case answer.Code == amqp.AccessRefused:
		return &Error{Code: answer.Code, Reason: answer.Reason}
	case e.uri.Scheme == "amqps" && !sock.lost.Load():
		return errHungUp
	default:
		return fmt.Errorf("handshake: %s; is this the AMQP port of a broker?", answer.Reason)
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
