package execrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/traceparent"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A question is a request as workers read it: one line of JSON. Body is set if the body is text, else Base64.
type question struct {
	ID          string  `json:"id"` // of this line: the answer has the same
	Service     string  `json:"service"`
	Method      string  `json:"method"`
	CallID      string  `json:"call_id,omitempty"`
	Caller      string  `json:"caller,omitempty"`
	User        string  `json:"user,omitempty"`
	Attempt     int     `json:"attempt,omitempty"`
	ContentType string  `json:"content_type"`
	Body        *string `json:"body,omitempty"`
	Base64      []byte  `json:"body_base64,omitempty"`
	TimeoutMS   int64   `json:"timeout_ms,omitempty"`
	TraceParent string  `json:"traceparent,omitempty"`
	TraceState  string  `json:"tracestate,omitempty"`
}

// ask makes the line of a request.
func ask(ctx context.Context, id uint64, r *rpc.Request) ([]byte, error) {
	q := question{
		ID:          strconv.FormatUint(id, 10),
		Service:     r.Service,
		Method:      r.Method,
		CallID:      r.ID,
		Caller:      r.Client,
		User:        r.User,
		Attempt:     r.Attempt,
		ContentType: contentType(r),
	}
	q.TraceParent, q.TraceState = traceparent.Of(ctx, r)
	q.TimeoutMS, _ = timeLeft(ctx)
	if utf8.Valid(r.Body) {
		body := string(r.Body)
		q.Body = &body
	} else {
		q.Base64 = r.Body
	}
	line, err := json.Marshal(&q)
	return append(line, '\n'), err
}

// An answer is a reply as workers write it: one line of JSON, with a body or an error.
type answer struct {
	ID          string `json:"id"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
	Base64      []byte `json:"body_base64"`
	Error       *fault `json:"error"`
}

// read returns what a line answers to the question with that ID. Garbled says that the line is no answer to it.
func read(line []byte, id uint64, replyType string, limit int) (reply *rpc.Reply, err error, garbled error) {
	var a answer
	err = json.Unmarshal(line, &a)
	e, typed := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case typed && e.Field != "": // its text would quote the line
		return nil, nil, fmt.Errorf("it wrote a reply in which %s is of another type", e.Field)
	case err != nil:
		return nil, nil, errors.New("it wrote a line that is no reply in JSON")
	case a.ID != strconv.FormatUint(id, 10):
		return nil, nil, errors.New("it wrote a reply without the id of the request")
	case a.Body != "" && len(a.Base64) > 0, a.Error != nil && (a.Body != "" || len(a.Base64) > 0):
		return nil, nil, errors.New("it wrote more than one of body, body_base64 and error")
	case a.Error != nil:
		return nil, a.Error.error(), nil
	}
	reply = &rpc.Reply{ContentType: a.ContentType, Body: a.Base64}
	if a.Body != "" {
		reply.Body = []byte(a.Body)
	}
	if len(reply.Body) > limit {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "reply has %d bytes, at most %d are allowed", len(reply.Body), limit), nil
	}
	if reply.ContentType == "" {
		reply.ContentType = replyType
	}
	if err := tidy(reply); err != nil {
		return nil, err, nil
	}
	return reply, nil, nil
}

// A lines hands over what a worker writes, line by line. Empty ones it leaves out. Somebody must take them,
// or quit must be closed.
type lines struct {
	max  int // bytes of a line
	next chan []byte
	long chan struct{} // closed after a line that is too long
	quit chan struct{}

	begun []byte
}

func newLines(max int) *lines {
	return &lines{max: max, next: make(chan []byte), long: make(chan struct{}), quit: make(chan struct{})}
}

var errQuit = errors.New("nobody reads any more")

func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if len(l.begun)+len(line) > l.max {
			close(l.long)
			return 0, errQuit // os/exec calls no more
		}
		l.begun = append(l.begun, line...)
		if !whole {
			break
		}
		if len(bytes.TrimSpace(l.begun)) == 0 {
			l.begun = nil
			continue
		}
		select {
		case l.next <- l.begun:
			l.begun = nil
		case <-l.quit:
			return 0, errQuit
		}
	}
	return len(p), nil
}
