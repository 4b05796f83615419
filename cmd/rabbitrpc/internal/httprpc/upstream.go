package httprpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/traceparent"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// An Upstream answers the calls to a service with requests to a server.
type Upstream struct {
	cfg    Config
	log    *slog.Logger
	client *http.Client
}

const (
	connectTimeout = 5 * time.Second
	idleTimeout    = 15 * time.Second // less than servers keep connections: one that they close could be lost with a request
	maxHeaders     = 64 << 10         // of a response
	problemTimeout = time.Second      // for the body of an error, of which the status tells most
)

// New makes an upstream. It does no I/O.
func New(c *Config, log *slog.Logger) (*Upstream, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	var http1 http.Protocols // one request at a time on a connection, which tells what was written of it
	http1.SetHTTP1(true)
	cfg := c.withDefaults()
	return &Upstream{cfg: cfg, log: log, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dial,
			TLSHandshakeTimeout:    connectTimeout,
			MaxConnsPerHost:        cfg.MaxConnections,
			MaxIdleConnsPerHost:    cfg.MaxConnections,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeaders,
			DisableCompression:     true, // what a reply grows to would have no bound
			Protocols:              &http1,
		},
	}}, nil
}

// Close ends the connections that are not in use.
func (u *Upstream) Close() { u.client.CloseIdleConnections() }

// Handle answers the calls of each method. It is an [rpc.Handler].
func (u *Upstream) Handle(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	if ctx.Err() != nil {
		return nil, outOfTime(ctx.Err()).WithExecuted(rpc.ExecutedNo)
	}
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	var sent sent
	req, err := u.request(sent.watch(attempt), r)
	if err != nil {
		return nil, err
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, u.lost(ctx, r, &sent, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols { // its body is the connection, which ctx does not end
		return nil, ofStatus(resp, nil)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer time.AfterFunc(problemTimeout, cancel).Stop()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem+1))
		if err != nil {
			body = nil // the status says it all
		}
		return nil, ofStatus(resp, body)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(u.cfg.MaxReply)+1))
	switch {
	case err != nil:
		return nil, u.lost(ctx, r, &sent, err)
	case len(body) > u.cfg.MaxReply:
		return nil, rpc.Errorf(rpc.ResourceExhausted, "reply has more than %d bytes", u.cfg.MaxReply)
	case !identity(resp.Header.Get("Content-Encoding")):
		return nil, rpc.Errorf(rpc.Internal, "upstream has encoded its reply, which it was not asked to do")
	}
	return &rpc.Reply{ContentType: resp.Header.Get("Content-Type"), Body: body}, nil
}

func identity(encoding string) bool { return encoding == "" || strings.EqualFold(encoding, "identity") }

// request makes the request for a call.
func (u *Upstream) request(ctx context.Context, r *rpc.Request) (*http.Request, error) {
	target := strings.NewReplacer("{service}", url.PathEscape(r.Service), "{method}", pathOf(r.Method)).Replace(string(u.cfg.URL))
	body := r.Body
	if slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, u.cfg.Verb) {
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, u.cfg.Verb, target, bytes.NewReader(body))
	if err != nil {
		return nil, rpc.Errorf(rpc.Internal, "no request can be made of this call").WithCause(err).WithExecuted(rpc.ExecutedNo)
	}
	if r.ID != "" {
		req.Header[u.idempotencyKey()] = []string{r.ID}
	}
	for name, value := range u.cfg.Headers {
		if req.Header.Set(name, string(value)); http.CanonicalHeaderKey(name) == "Host" {
			req.Host = string(value) // net/http takes it from here
		}
	}
	parent, state := traceparent.Of(ctx, r)
	for name, value := range map[string]string{
		"Content-Type":      r.ContentType,
		"Traceparent":       parent,
		"Tracestate":        state,
		"Rabbitrpc-Service": r.Service,
		"Rabbitrpc-Method":  r.Method,
		"Rabbitrpc-Caller":  r.Client,
		"Rabbitrpc-User":    r.User,
		"Rabbitrpc-Attempt": strconv.Itoa(r.Attempt),
	} {
		if !httpguts.ValidHeaderFieldValue(value) || !httpguts.ValidHeaderFieldValue(r.ID) {
			return nil, rpc.Errorf(rpc.InvalidArgument, "the call's ID, content type or headers cannot be sent by HTTP").WithExecuted(rpc.ExecutedNo)
		}
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if r.ContentType == "" {
		req.Header.Set("Content-Type", rpc.ContentTypeJSON)
	}
	if deadline, ok := ctx.Deadline(); ok {
		ms := max(1, time.Until(deadline).Milliseconds())
		req.Header.Set("Grpc-Timeout", strconv.FormatInt(ms, 10)+"m") // a day has eight digits, as many as are allowed
		req.Header.Set("Request-Timeout", strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64))
	}
	return req, nil
}

// pathOf keeps the slashes of a method, and keeps it from climbing: a path of dots would be another one.
func pathOf(method string) string {
	parts := strings.Split(method, "/")
	for i, part := range parts {
		if parts[i] = url.PathEscape(part); part == "." || part == ".." {
			parts[i] = strings.ReplaceAll(part, ".", "%2E")
		}
	}
	return strings.Join(parts, "/")
}

// idempotencyKey is the name under which the call ID is sent. If net/http finds it in its usual spelling it sends a request
// again that was lost with a connection that was kept open: if a request must not be sent twice, it is spelt another way.
func (u *Upstream) idempotencyKey() string {
	if u.cfg.Idempotent {
		return "Idempotency-Key"
	}
	return "idempotency-key"
}

// lost is the error of a call to which there is no response.
func (u *Upstream) lost(ctx context.Context, r *rpc.Request, s *sent, cause error) error {
	if e, ok := errors.AsType[*url.Error](cause); ok {
		cause = e.Err // the other part is the URL, which may have a secret in it
	}
	var e *rpc.Error
	switch {
	case ctx.Err() != nil:
		e = outOfTime(ctx.Err())
	case s.any():
		e = rpc.Errorf(rpc.Unavailable, "upstream ended the connection before it answered")
	default:
		e = rpc.Errorf(rpc.Unavailable, "upstream cannot be reached")
	}
	if s.any() {
		e = e.WithCause(errors.Join(rpc.ErrInDoubt, cause))
	} else {
		e = e.WithCause(cause).WithExecuted(rpc.ExecutedNo)
	}
	u.log.Warn("no response of upstream", "method", r.Method, "call", r.ID, "err", e, "cause", cause)
	return e
}

func outOfTime(cause error) *rpc.Error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return rpc.Errorf(rpc.DeadlineExceeded, "upstream did not answer in time")
	}
	return rpc.Errorf(rpc.Unavailable, "server stopped before upstream had answered")
}
