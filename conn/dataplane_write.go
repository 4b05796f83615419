package conn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

const (
	maxQueued = 1 << 20  // bytes that wait for the network, before those who write wait
	maxWrite  = 64 << 10 // bytes of one write, which has the socket's deadline
	maxKept   = 1 << 20  // bytes of a buffer that is kept for the next round

	writePatience = 10 * time.Millisecond  // of who writes for all, before somebody else goes on with it
	roomPatience  = 100 * time.Millisecond // of who publishes, for room

	meanOf = 16            // rounds, about
	parts  = 256           // of one, in a mean
	crowd  = parts * 3 / 2 // a mean from which on who comes first is not alone, and had better wait for the others
)

// An outbox collects the frames of all who write, and has them written by one: by who comes first, at once and without a
// change of goroutine, and what has come meanwhile, in one piece, by a goroutine of its own. While there are many who write,
// they do not wait for the network but for each other: the more there are, the more goes out with one write.
//
// A call must end by its deadline, however slow the network and large what others have to say: so none who publishes waits for the
// network for long.
//
// After an error nothing is written any more: half a frame may be out.
type outbox struct {
	conn    net.Conn
	sock    *socket        // below conn; only who writes has it. nil in tests
	running sync.WaitGroup // the goroutine that writes

	mu      sync.Mutex    // guards what follows
	room    chan struct{} // closed when there is room again, or an error; nil if nobody waits
	queued  []byte        // whole frames
	acks    []*acks       // with acknowledgements that are not in queued yet
	count   int           // how often something was queued since the last round
	spare   []byte        // the other buffer
	left    []byte        // of the last round
	writing bool          // somebody does
	load    int           // the running mean of count, in parts of one
	err     error
	failed  func(error)

	begun  []byte // the library's own, up to the end of a frame
	opened uint16 // the channel that the library has opened last
}

func (o *outbox) init(c net.Conn) {
	o.conn, o.sock = c, socketOf(c)
	o.failed = func(error) {}
}

func (o *outbox) attach(failed func(error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = failed
}

// lock locks the outbox, for the caller to append to queued, and flush. If there is no room it waits for some, for ever if patience is 0.
// With an error it is not locked.
func (o *outbox) lock(patience time.Duration) error {
	var over <-chan time.Time
	for {
		o.mu.Lock()
		err, room := o.err, o.full()
		if err == nil && room == nil {
			return nil
		}
		o.mu.Unlock()
		if err != nil {
			return err
		}
		if over == nil && patience > 0 {
			over = time.After(patience)
		}
		select {
		case <-room:
		case <-over:
			return errFull
		}
	}
}

var errFull = fmt.Errorf("%w: the network has not taken what was published before", ErrBlocked)

// full returns nil while there is room, else a channel that is closed when there is some. It is called with the mutex locked.
func (o *outbox) full() <-chan struct{} {
	if len(o.queued) <= maxQueued || o.err != nil {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// freed tells who waits for room to look again. It is called with the mutex locked.
func (o *outbox) freed() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// blocked is full without the mutex.
func (o *outbox) blocked() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.full()
}

// flush has written what was queued, and unlocks the outbox. An error is of a write that may have been of what the caller
// queued. Without one it may still fail: then the line does.
func (o *outbox) flush() error {
	o.count++
	if o.writing {
		o.mu.Unlock()
		return nil
	}
	o.writing = true
	if o.load < crowd {
		if err := o.round(writePatience); err != nil {
			return o.fail()
		}
	}
	if o.writing = o.err == nil && o.pending(); o.writing {
		o.start()
	}
	o.mu.Unlock()
	return nil
}

// flushSoon has what was queued written, with what others queue meanwhile, and unlocks the outbox. It never waits.
func (o *outbox) flushSoon() {
	o.count++
	if !o.writing {
		o.writing = true
		o.start()
	}
	o.mu.Unlock()
}

func (o *outbox) start() {
	o.running.Add(1)
	go o.drain()
}

func (o *outbox) pending() bool {
	return len(o.queued) > 0 || len(o.acks) > 0 || len(o.left) > 0 || o.sock.late()
}

// drain writes until there is nothing left. Before each round it lets all others run who can: what they have to say goes
// with it.
func (o *outbox) drain() {
	defer o.running.Done()
	for {
		runtime.Gosched()
		o.mu.Lock()
		if o.err == nil && o.pending() {
			o.round(0)
		}
		if o.err != nil {
			o.fail()
			return
		}
		if o.writing = o.pending(); !o.writing {
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
	}
}

// fail unlocks the outbox, and tells of its error. Whoever has closed the connection knows why, and says so.
func (o *outbox) fail() error {
	err, failed := o.err, o.failed
	o.mu.Unlock()
	if !errors.Is(err, net.ErrClosed) {
		failed(err)
	}
	return err
}

// round writes all that is there, or, with patience, what the network takes in that time. It unlocks the outbox meanwhile: there may be an
// error in the end that is not its own.
func (o *outbox) round(patience time.Duration) error {
	if len(o.left) == 0 {
		o.settle()
		o.left = o.queued
		o.queued, o.spare = o.spare[:0], nil
		o.load += (o.count*parts - o.load) / meanOf
		o.count = 0
	}
	b := o.left
	o.mu.Unlock()
	left, err := o.write(b, patience)
	o.mu.Lock()
	if o.left = left; len(left) == 0 && cap(b) <= maxKept {
		o.spare = b
	}
	if err != nil && o.err == nil {
		o.err = err
	}
	o.freed()
	return err
}

// write returns what it has no patience for.
func (o *outbox) write(b []byte, patience time.Duration) (left []byte, err error) {
	err = o.sock.hurry(patience)
	for len(b) > 0 && err == nil && !o.sock.late() {
		n := min(len(b), maxWrite)
		_, err = o.conn.Write(b[:n])
		b = b[n:]
	}
	return b, err
}

// settle queues the acknowledgements, which are grouped up to here.
func (o *outbox) settle() {
	for _, a := range o.acks {
		o.queued = a.append(o.queued)
	}
	o.acks = o.acks[:0]
}

// end makes all who write fail from now on.
func (o *outbox) end(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.freed()
}

// lastOpened is the channel that the library has opened last.
func (o *outbox) lastOpened() uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.opened
}

// Write takes what the library writes, in pieces that need not end where a frame does.
func (o *outbox) Write(b []byte) (int, error) {
	if err := o.lock(0); err != nil {
		return 0, err
	}
	o.settle() // an acknowledgement must not come after the close of its channel
	o.begun = append(o.begun, b...)
	whole := o.whole(o.begun)
	o.queued = append(o.queued, o.begun[:whole]...)
	o.begun = append(o.begun[:0], o.begun[whole:]...)
	if err := o.flush(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// whole tells how many bytes of b are whole frames, and notes which channel is opened there.
func (o *outbox) whole(b []byte) (n int) {
	const greeting = 8 // AMQP and the version, which is no frame
	if bytes.HasPrefix(b, []byte("AMQP")) && len(b) >= greeting {
		n = greeting
	}
	for len(b)-n >= frame.HeadSize {
		head := frame.ParseHead(b[n:])
		size := head.Len()
		if len(b)-n < size {
			break
		}
		if head.Type == frame.Method && frame.MethodID(b[n+frame.HeadSize:]) == frame.ChannelOpen {
			o.opened = head.Channel
		}
		n += size
	}
	return n
}
