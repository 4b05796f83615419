package status

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	maxErrors = 32  // kinds that are remembered
	maxText   = 300 // characters of a message
)

// An errorLog keeps the latest errors, one of each kind, so that a flood of one does not hide the others.
type errorLog struct {
	mu   sync.Mutex    // guards kept
	kept []failureKind // the latest last
}

type failureKind struct {
	Error
	at time.Time
}

func (l *errorLog) add(side string, m method, call string, err error) {
	e := failureKind{at: time.Now(), Error: Error{
		Where: printable(cut(m.service + "." + m.name)), Side: side, Code: rpc.CodeOf(err).String(), Text: textOf(err),
		Call: printable(cut(call)), Count: 1,
	}}
	l.mu.Lock()
	defer l.mu.Unlock()
	same := func(o failureKind) bool { return o.Where == e.Where && o.Side == e.Side && o.Code == e.Code }
	if i := slices.IndexFunc(l.kept, same); i >= 0 {
		e.Count += l.kept[i].Count
		l.kept = slices.Delete(l.kept, i, i+1)
	} else if len(l.kept) == maxErrors {
		l.kept = slices.Delete(l.kept, 0, 1)
	}
	l.kept = append(l.kept, e)
}

// textOf returns what people read of the error of a call: what crosses the wire, and no more.
func textOf(err error) string {
	if e, ok := errors.AsType[*rpc.Error](err); ok {
		return printable(cut(e.Message))
	}
	return "an error without a code: its text is in the log"
}

// latest returns the errors, the latest first.
func (l *errorLog) latest() []Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Error, 0, len(l.kept))
	for _, e := range slices.Backward(l.kept) {
		e.Ago = time.Since(e.at).Seconds()
		all = append(all, e.Error)
	}
	return all
}
