package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
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
	l := new(link)
	var identity *tls.Config // nil without TLS
	unwatch := func() bool { return true }
	config := amqp.Config{
		Heartbeat: o.heartbeat,
		FrameSize: frameMax,
		Dial: func(network, _ string) (net.Conn, error) {
			c, err := o.dial(ctx, network, hostPort(e.uri.Host, e.uri.Port))
			if err != nil {
				return nil, err
			}
			unwatch = context.AfterFunc(ctx, func() { c.Close() })
			return l.over(ctx, c, identity, o.library)
		},
		Properties: amqp.NewConnectionProperties(), // the library writes into them
	}
	config.Properties["connection_name"] = name
	config.Properties["product"] = "rabbitrpc"
	var err error
	if identity, err = o.identify(ctx, &config, &e.uri); err != nil {
		return nil, err
	}
	l.conn, err = amqp.DialConfig(withoutTLS(e.url), config)
	ended := !unwatch()
	if ended && (err == nil || errors.Is(err, net.ErrClosed)) {
		err = ctx.Err()
	}
	if err != nil {
		if l.sock != nil {
			l.sock.Conn.Close()
			l.sock.overdue.CompareAndSwap(false, ended)
		}
		return nil, handshakeError(err, e, l.sock, time.Since(start))
	}
	if h := l.conn.Config.Heartbeat; h > 0 {
		l.sock.timeout.Store(int64(h))
		// The library does this with each frame that it reads, but undoes it after the last one of the handshake.
		l.sock.SetReadDeadline(time.Now().Add(h * 3 / 2))
	}
	return l, nil
}

// over builds on c what the library is to write to and read from, up to the end of the TLS handshake if there is an identity. The
// deadline that it sets is for the AMQP handshake, too.
func (l *link) over(ctx context.Context, c net.Conn, identity *tls.Config, library bool) (_ net.Conn, err error) {
	l.sock = &socket{Conn: c}
	l.sock.timeout.Store(int64(handshakeTimeout))
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	top := net.Conn(l.sock)
	if identity != nil {
		if l.tls, err = secure(ctx, l.sock, identity); err != nil {
			return nil, err
		}
		top = l.tls
	}
	if library {
		return top, nil
	}
	l.line = newLine(top)
	return l.line, nil
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
