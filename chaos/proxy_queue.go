package chaos

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

// maxQueued is how much a queue takes before its reader waits: in line, and as much again in lanes.
const maxQueued = 1 << 20

// An entry is something to deliver: data, a cut, or the end of the stream.
type entry struct {
	data []byte
	part bool       // the rest of its last frame follows
	cut  *Injection // that cuts the connection here
	end  bool

	by  *Injection // what holds it, until due or healed; may be nil
	due time.Time
}

func (e *entry) ready(now time.Time) bool {
	return e.by == nil || e.by.healed.Load() || !now.Before(e.due)
}

// size counts the entry itself as well: there may be many small ones.
func (e *entry) size() int { return len(e.data) + 128 }

// A queue is what is held in one direction of a link: a line, and beside it the lanes of channels that are held back. One
// goroutine, the reader, puts entries in; another, the writer, takes them out. There is a writer only while there are
// entries: without one the reader delivers by itself.
type queue struct {
	start func()        // a writer
	more  chan struct{} // buffered 1: something was put in
	room  chan struct{} // buffered 1: something was taken out
	held  atomic.Int32  // number of lanes

	mu       sync.Mutex // guards what follows
	writing  bool
	line     []entry
	lineSize int
	part     bool // the line ends within a frame: the rest of that must come next
	lanes    map[uint16][]entry
	laneSize int
	ended    bool
}

func newQueue(start func()) *queue {
	return &queue{start: start, more: make(chan struct{}, 1), room: make(chan struct{}, 1), lanes: make(map[uint16][]entry)}
}

// push puts e in line. It does not if there is nothing to wait for: then the reader delivers e at once.
func (q *queue) push(e entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.writing && e.by == nil {
		return false
	}
	if e.end {
		q.ended = true
	} else {
		e.data = bytes.Clone(e.data)
		q.append(e)
	}
	q.wake()
	return true
}

// hold puts e in the lane of its channel. It does not if there is none, and e need not wait either.
func (q *queue) hold(channel uint16, e entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane, ok := q.lanes[channel]
	if !ok && e.by == nil {
		return false
	}
	if !ok {
		q.held.Add(1)
	}
	e.data = bytes.Clone(e.data)
	q.lanes[channel] = append(lane, e)
	q.laneSize += e.size()
	q.wake()
	return true
}

// holds reports whether the channel has a lane.
func (q *queue) holds(channel uint16) bool {
	if q.held.Load() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lanes[channel] != nil
}

// full reports whether the reader must wait for room. It does not wait for lanes while the line ends within a frame,
// since they wait for the rest of it.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lineSize >= maxQueued || q.laneSize >= maxQueued && !q.part
}

// next takes out what can be delivered now. If there is nothing yet it tells when to look again; without a time there
// is nothing at all, and the writer must end.
func (q *queue) next(now time.Time) (e entry, ok bool, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	again = q.merge(now)
	switch {
	case len(q.line) > 0 && q.line[0].ready(now):
		e = q.line[0]
		q.line[0] = entry{}
		q.line = q.line[1:]
		q.lineSize -= e.size()
		notify(q.room)
		return e, true, again
	case len(q.line) > 0:
		return entry{}, false, earlier(again, q.line[0].due)
	case len(q.lanes) > 0:
		return entry{}, false, again
	case q.ended:
		q.ended = false
		return entry{end: true}, true, again
	}
	q.line, q.writing = nil, false
	return entry{}, false, again
}

// merge puts in line what is due in the lanes, and returns when more will be.
func (q *queue) merge(now time.Time) (again time.Time) {
	for channel, lane := range q.lanes {
		blocked := q.part && !q.ended // at the end, what is not whole never will be
		for len(lane) > 0 && !blocked && lane[0].ready(now) {
			e := lane[0]
			q.laneSize -= e.size()
			e.by = nil
			q.append(e)
			lane = lane[1:]
		}
		switch q.lanes[channel] = lane; {
		case len(lane) == 0:
			delete(q.lanes, channel)
			q.held.Add(-1)
		case blocked:
			again = earlier(again, now.Add(time.Hour)) // or when there is more
		default:
			again = earlier(again, lane[0].due)
		}
		notify(q.room)
	}
	return again
}

func (q *queue) append(e entry) {
	q.line = append(q.line, e)
	q.lineSize += e.size()
	q.part = e.part
}

func (q *queue) wake() {
	if q.writing {
		notify(q.more)
		return
	}
	q.writing = true
	q.start()
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// earlier returns the earlier of two times of which the first may be missing.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
