package conn

import (
	"errors"
	"fmt"
)

// What can go wrong, for errors.Is. ErrNotConnected, ErrClosed, ErrBlocked and ErrInvalid also tell that a message was not sent, see [NotSent].
var (
	ErrNotConnected = errors.New("no connection with the broker")
	ErrClosed       = errors.New("session is over")
	ErrBlocked      = errors.New("broker takes no messages for now")
	ErrInvalid      = errors.New("message cannot be sent")
	ErrSettled      = errors.New("delivery is settled already")
	ErrUnreadable   = errors.New("received what cannot be read")
	ErrCancelled    = errors.New("cancelled by the broker") // a consumer: its queue was deleted, or has lost its leader

	ErrRefused      = errors.New("access refused")                // 403, and 530 on connecting
	ErrNotFound     = errors.New("not found")                     // 404
	ErrLocked       = errors.New("belongs to another connection") // 405
	ErrPrecondition = errors.New("exists with other properties")  // 406
)

// NotSent reports whether err, from a [Publisher], is definite: the message never left, so nothing can come of it.
func NotSent(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, ErrBlocked) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrNotConnected)
}

// An Error is a reply of the broker: it closed a channel or a connection. See AMQP 0-9-1, section "constants".
type Error struct {
	Code   int
	Reason string
}

// Error returns the broker's reason and its code.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Reason, e.Code) }

// Is matches the sentinel of the code.
func (e *Error) Is(target error) bool {
	switch e.Code {
	case 403, 530:
		return target == ErrRefused
	case 404:
		return target == ErrNotFound
	case 405:
		return target == ErrLocked
	case 406:
		return target == ErrPrecondition
	}
	return false
}
