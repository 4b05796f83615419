package idempotency

import (
	"bytes"
	"errors"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Record is the outcome of a call that ran: exactly one of Reply and Err is not
// nil. A store keeps all fields of either, except Reply.Replayed and the cause of
// Err.
type Record struct {
	Reply *rpc.Reply
	Err   *rpc.Error
}

// Clone returns a copy that shares no memory with r, without the cause of Err:
// that is for the process in which it happened, and may hold on to anything.
func (r *Record) Clone() *Record {
	c := &Record{Err: r.ownErr()}
	if r.Reply != nil {
		reply := ownReply(r.Reply)
		c.Reply = &reply
	}
	return c
}

func (r *Record) ownErr() *rpc.Error {
	if r.Err == nil {
		return nil
	}
	e := r.Err.WithCause(nil)
	e.Details = bytes.Clone(e.Details)
	return e
}

func ownReply(r *rpc.Reply) rpc.Reply {
	own := *r
	own.Body = bytes.Clone(own.Body)
	return own
}

// size is the number of bytes in the record.
func (r *Record) size() int {
	n := 0
	if r.Reply != nil {
		n += len(r.Reply.ContentType) + len(r.Reply.Body) + len(r.Reply.Server)
	}
	if r.Err != nil {
		n += len(r.Err.Message) + len(r.Err.Details)
	}
	return n
}

// replay turns the record, which must be the caller's own, into an answer.
func (r *Record) replay() (*rpc.Reply, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	r.Reply.Replayed = true
	return r.Reply, nil
}

// executed says whether there is something to record: any outcome but the error that
// says that the call did not run.
func (r *Record) executed() bool {
	return r.Err == nil || r.Err.Executed != rpc.ExecutedNo
}

// inDoubt says whether the handler does not know what has happened, and invites the same call again.
func (r *Record) inDoubt() bool {
	return r.Err != nil && r.Err.Code.Retryable() && errors.Is(r.Err, rpc.ErrInDoubt)
}
