package gateway

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// statuses are those of google.rpc.Code.
var statuses = map[rpc.Code]int{
	rpc.Canceled:           499, // nobody reads it
	rpc.Unknown:            http.StatusInternalServerError,
	rpc.InvalidArgument:    http.StatusBadRequest,
	rpc.DeadlineExceeded:   http.StatusGatewayTimeout,
	rpc.NotFound:           http.StatusNotFound,
	rpc.AlreadyExists:      http.StatusConflict,
	rpc.PermissionDenied:   http.StatusForbidden,
	rpc.ResourceExhausted:  http.StatusTooManyRequests,
	rpc.FailedPrecondition: http.StatusBadRequest,
	rpc.Aborted:            http.StatusConflict,
	rpc.OutOfRange:         http.StatusBadRequest,
	rpc.Unimplemented:      http.StatusNotImplemented,
	rpc.Internal:           http.StatusInternalServerError,
	rpc.Unavailable:        http.StatusServiceUnavailable,
	rpc.DataLoss:           http.StatusInternalServerError,
	rpc.Unauthenticated:    http.StatusUnauthorized,
}

// A problem is an error as RFC 9457 has it. Its type is about:blank, which need not be said.
type problem struct {
	Title        string          `json:"title"`
	Status       int             `json:"status"`
	Detail       string          `json:"detail,omitempty"`
	Code         string          `json:"code"`
	Executed     string          `json:"executed"`
	Retryable    bool            `json:"retryable"` // with the same Idempotency-Key
	RetryAfterMS int64           `json:"retry_after_ms,omitempty"`
	CallID       string          `json:"call_id,omitempty"`
	Details      json.RawMessage `json:"details,omitempty"`
}

// writeProblem answers with an error. A status of 0 is that of its code.
func writeProblem(w http.ResponseWriter, status int, callID string, err error) {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok {
		e = rpc.Errorf(rpc.CodeOf(err), "the call failed")
	}
	if errors.Is(err, conn.ErrNotConnected) { // the rest of the text is where the broker should be
		e = rpc.Errorf(e.Code, "%w", conn.ErrNotConnected).WithExecuted(e.Executed)
	}
	if status == 0 {
		status = statuses[rpc.CodeOf(e)]
	}
	p := problem{
		Title:        http.StatusText(status),
		Status:       status,
		Detail:       e.Message,
		Code:         rpc.CodeOf(e).String(),
		Executed:     e.Executed.String(),
		Retryable:    e.Code.Retryable() && e.Executed != rpc.ExecutedYes,
		RetryAfterMS: e.RetryAfter.Milliseconds(),
		CallID:       callID,
		Details:      e.Details,
	}
	if p.Title == "" {
		p.Title = "Client Closed Request"
	}
	body, err := json.Marshal(p)
	if err != nil { // of details that are no JSON
		p.Details = nil
		body, _ = json.Marshal(p)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="rabbitrpc"`)
	}
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // an error: the client has gone
}
