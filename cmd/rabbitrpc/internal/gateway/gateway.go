// Package gateway turns HTTP requests into calls: POST /call/SERVICE/METHOD. docs/adapters.md is the contract.
//
// # Guarantees
//
// Each request is answered, by its deadline: with the reply, or with a problem of RFC 9457 that says what is known. A client
// that goes away cancels its call.
//
// Browsers are kept out: they say with each such request which page has sent it (Origin, Sec-Fetch-Site), and none is welcome.
// Where no token is asked for, a request must also be for this host by its name or a loopback address, and not for a name that
// somebody else's DNS says is here.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A Gateway calls for HTTP clients. Make it with [New], then Listen, then Serve.
type Gateway struct {
	do      rpc.Handler
	log     *slog.Logger
	bodies  budget
	inForce atomic.Pointer[settings]
}

// settings are by what a request is answered, from its beginning to its end.
type settings struct {
	config.Gateway
	token string // may be empty
}

// New makes a gateway that calls with do, which is [client.Client.Do].
func New(c config.Gateway, do rpc.Handler, log *slog.Logger) (*Gateway, error) {
	g := &Gateway{do: do, log: log, bodies: budget{limit: int64(c.BodyMemory)}}
	return g, g.Change(c)
}

// Change has requests that come from now on answered by another configuration, and reads its token. Where it listens, for how
// many connections, and how many bytes it holds, is as it was.
func (g *Gateway) Change(c config.Gateway) error {
	if err := c.Check(); err != nil {
		return err
	}
	token, err := c.Bearer()
	if err != nil {
		return err
	}
	g.inForce.Store(&settings{c, token})
	return nil
}

const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second // of reading a request, with its headers
	writeTimeout  = 30 * time.Second // of a response, from its first byte
	idleTimeout   = time.Minute
	maxHeaders    = 32 << 10
)

// Listen opens the port.
func (g *Gateway) Listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	c := g.inForce.Load()
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("gateway: %s is taken, by another rabbitrpc or another program: choose another port, or 0 for any", c.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return netutil.LimitListener(l, c.MaxConnections), nil
}

// Serve answers requests until ctx ends. Then it takes no more, and answers those that it has within the drain limit; calls
// that outlast it are canceled, and an error. It closes l.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx)) // they outlive ctx by the drain limit
	defer cancel()
	s := &http.Server{
		Handler:           g,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + writeTimeout, // of what is refused; calls take their own time
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelWarn), // such as too many open files
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	defer func() { <-served }()
	drain := g.inForce.Load().Drain
	g.log.Info("draining", "limit", drain)
	limit, stop := context.WithTimeout(calls, drain)
	defer stop()
	if s.Shutdown(limit) != nil {
		cancel()
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // for clients to be told
		defer stop()
		_ = s.Shutdown(last)
		return errors.Join(fmt.Errorf("drain: some calls were not answered within %v", drain), s.Close())
	}
	g.log.Info("drained")
	return nil
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	c := g.inForce.Load()
	service, method, ok := target(r)
	if err := c.admit(r); err != nil {
		g.refuse(w, r, 0, err)
		return
	}
	switch {
	case !ok:
		g.refuse(w, r, http.StatusNotFound, refused(rpc.Unimplemented, "there is only /call/SERVICE/METHOD"))
		return
	case r.Method != http.MethodPost:
		h.Set("Allow", http.MethodPost)
		g.refuse(w, r, http.StatusMethodNotAllowed, refused(rpc.Unimplemented, "calls are made with POST"))
		return
	}
	g.call(w, r, c, service, method)
}

// call makes the call that a request asks for.
func (g *Gateway) call(w http.ResponseWriter, r *http.Request, c *settings, service, method string) {
	id, opts, refusal := c.options(r.Header)
	w.Header().Set("Rabbitrpc-Call-Id", headerValue(id))
	if refusal != nil {
		writeProblem(w, 0, id, refusal)
		return
	}
	contentType, refusal := typeOf(r)
	if refusal != nil {
		writeProblem(w, http.StatusUnsupportedMediaType, id, refusal)
		return
	}
	held := &share{of: &g.bodies}
	defer held.giveBack()
	body, status, refusal := c.body(w, r, held)
	if refusal != nil {
		writeProblem(w, status, id, refusal)
		return
	}
	ctx, header := trace(r)
	reply, err := g.do(client.With(ctx, opts...), &rpc.Request{
		Service: service, Method: method, ContentType: contentType, Body: body, Header: header,
	})
	// The server's own limit began with the request, and a call may take longer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil {
		g.log.Debug("call failed", "service", service, "method", method, "call", id, "err", err)
		writeProblem(w, 0, id, err)
		return
	}
	held.hold(len(reply.Body)) // it is there, whether or not there is room
	writeReply(w, reply)
}

// typeOf is the content type of the request: JSON if it says none. Forms are refused, since no service takes them: who sends one
// is a page in a browser, or curl -d, which says that everything is one.
func typeOf(r *http.Request) (string, *rpc.Error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return "", refused(rpc.Unimplemented, "send the body as it is, without Content-Encoding")
	}
	contentType := r.Header.Get("Content-Type")
	switch mediaType, _, _ := mime.ParseMediaType(contentType); mediaType {
	case "application/x-www-form-urlencoded", "multipart/form-data":
		return "", refused(rpc.Unimplemented, "say what the body is: Content-Type: application/json, which curl --json does")
	}
	return cmp.Or(contentType, rpc.ContentTypeJSON), nil
}

// busyFor is when a client whose body there was no room for may try again.
const busyFor = time.Second

// body reads what is to be sent. One that is said to be too long is not waited for. One that there is no room for is not kept.
func (s *settings) body(w http.ResponseWriter, r *http.Request, held *share) (body []byte, status int, refusal *rpc.Error) {
	limit, tooLong := int64(s.MaxBody), refused(rpc.InvalidArgument, "body has more than %d bytes", s.MaxBody)
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close")
		return nil, http.StatusRequestEntityTooLarge, tooLong
	}
	in, err := http.MaxBytesReader(w, r.Body, limit), errFull
	wanted := held.of.fits(r.ContentLength)
	if wanted {
		body, err = io.ReadAll(metered{in, held})
	}
	if errors.Is(err, errFull) {
		held.giveBack()
		if wanted || r.Header.Get("Expect") == "" { // else the client waits to be asked for it
			_, _ = io.Copy(io.Discard, in) // or it would be cut off while it sends, and not read why
		}
		return nil, 0, refused(rpc.Unavailable, "there is no room for the body beside those of other calls").WithRetryAfter(busyFor)
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, http.StatusRequestEntityTooLarge, tooLong
	}
	if err != nil {
		return nil, http.StatusBadRequest, refused(rpc.InvalidArgument, "body did not arrive in full, or not in time")
	}
	return body, 0, nil
}

func writeReply(w http.ResponseWriter, reply *rpc.Reply) {
	h := w.Header()
	h.Set("Content-Type", headerValue(cmp.Or(reply.ContentType, rpc.ContentTypeJSON)))
	if reply.Server != "" {
		h.Set("Rabbitrpc-Server", headerValue(reply.Server))
	}
	if reply.Replayed {
		h.Set("Rabbitrpc-Replayed", "true")
	}
	h.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	w.Write(reply.Body) // an error: the client has gone
}

// refuse answers a request that is no call.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, status int, err *rpc.Error) {
	g.log.Debug("request refused", "from", r.RemoteAddr, "err", err)
	w.Header().Set("Connection", "close") // what it has for a body is not read
	writeProblem(w, status, "", err)
}
