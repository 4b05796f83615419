package status

import (
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
	mu   sync.Mutex    // guards what follows
	kept []failureKind // the latest last
}

type failureKind struct {
	Error
	at time.Time
}

func (l *errorLog) add(side string, req *rpc.Request, err error) {
	e := failureKind{at: time.Now(), Error: Error{
		Where: printable(cut(req.Service+"."+req.Method, maxText)), Side: side, Code: rpc.CodeOf(err).String(), Text: textOf(err),
		Call: printable(cut(req.ID, maxText)), Count: 1,
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
