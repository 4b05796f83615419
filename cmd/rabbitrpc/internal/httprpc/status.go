package httprpc

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// codes say what a status means: the inverse of the table in google.rpc.Code. Others are unknown.
var codes = map[int]rpc.Code{
	http.StatusBadRequest:                   rpc.InvalidArgument,
	http.StatusUnauthorized:                 rpc.Unauthenticated,
	http.StatusForbidden:                    rpc.PermissionDenied,
	http.StatusNotFound:                     rpc.NotFound,
	http.StatusMethodNotAllowed:             rpc.Unimplemented,
	http.StatusRequestTimeout:               rpc.DeadlineExceeded,
	http.StatusConflict:                     rpc.Aborted,
	http.StatusGone:                         rpc.NotFound,
	http.StatusPreconditionFailed:           rpc.FailedPrecondition,
	http.StatusRequestEntityTooLarge:        rpc.InvalidArgument,
	http.StatusUnsupportedMediaType:         rpc.Unimplemented,
	http.StatusRequestedRangeNotSatisfiable: rpc.OutOfRange,
	http.StatusUnprocessableEntity:          rpc.InvalidArgument,
	http.StatusTooEarly:                     rpc.Unavailable,
	http.StatusPreconditionRequired:         rpc.FailedPrecondition,
	http.StatusTooManyRequests:              rpc.ResourceExhausted,
	499:                                     rpc.Canceled, // nginx: the client has gone
	http.StatusInternalServerError:          rpc.Internal,
	http.StatusNotImplemented:               rpc.Unimplemented,
	http.StatusBadGateway:                   rpc.Unavailable,
	http.StatusServiceUnavailable:           rpc.Unavailable,
	http.StatusGatewayTimeout:               rpc.DeadlineExceeded,
}

// execution says what a status tells of the effect: by default the upstream has executed the call, and said no.
func execution(status int) rpc.Execution {
	switch status {
	case http.StatusTooManyRequests, http.StatusTooEarly:
		return rpc.ExecutedNo
	case http.StatusRequestTimeout, 499, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return rpc.ExecutedUnknown // a proxy says these as well, of a server behind it
	}
	return rpc.ExecutedYes
}

// ofStatus is the error of a response that is no success.
func ofStatus(resp *http.Response, body []byte) *rpc.Error {
	code, known := codes[resp.StatusCode]
	if !known {
		code = rpc.Unknown
	}
	executed := execution(resp.StatusCode)
	e := rpc.Errorf(code, "upstream answered %s", statusText(resp.StatusCode))
	if p := problemOf(resp.Header.Get("Content-Type"), body); p != nil {
		if code, ok := rpc.ParseCode(p.Code); ok && code != rpc.OK {
			e.Code = code
		}
		if x, ok := rpc.ParseExecution(p.Executed); ok {
			executed = x
		}
		if m := p.message(); m != "" {
			e.Message = m
		}
		e.Details = body
	}
	e = e.WithRetryAfter(retryAfter(resp.Header.Get("Retry-After"), time.Now()))
	if executed == rpc.ExecutedUnknown {
		return e.WithCause(rpc.ErrInDoubt)
	}
	return e.WithExecuted(executed)
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// A problem is what is used of a problem of RFC 9457. Code and Executed are extensions, which the gateway writes, too.
type problem struct {
	Title    string `json:"title"`
	Detail   string `json:"detail"`
	Code     string `json:"code"`
	Executed string `json:"executed"`
}

func (p *problem) message() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

const maxProblem = 8 << 10 // bytes that the details of an error may have

// problemOf reads a body that is a problem, and small enough to be passed on. All others are nil.
func problemOf(contentType string, body []byte) *problem {
	mediaType, _, err := mime.ParseMediaType(contentType)
	var p problem
	if err != nil || mediaType != "application/problem+json" || len(body) > maxProblem || json.Unmarshal(body, &p) != nil {
		return nil
	}
	return &p
}

const maxRetryAfter = 24 * time.Hour

// retryAfter reads seconds or a date. It is 0 for what is neither, or over.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, min(at.Sub(now), maxRetryAfter))
	}
	return 0
}
