package conn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// An end is the other end of a line: it collects what is written, and fails or waits if told to.
type end struct {
	net.Conn // nil: nothing else is used
	mu       sync.Mutex
	written  bytes.Buffer
	writes   int
	fails    error
	stuck    chan struct{} // not nil: a write waits until it is closed
	reads    io.Reader
}

func (e *end) Write(b []byte) (int, error) {
	if e.stuck != nil {
		<-e.stuck
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails != nil {
		return 0, e.fails
	}
	e.writes++
	return e.written.Write(b)
}

func (e *end) Read(b []byte) (int, error) { return e.reads.Read(b) }
func (e *end) Close() error               { return nil }

func (e *end) SetReadDeadline(time.Time) error { return nil }

// send writes a message as a publisher does.
func send(l *line, channel uint16, body string) error {
	if err := l.outbox.lock(roomPatience); err != nil {
		return err
	}
	l.queued = frame.AppendPublish(l.queued, channel, &frame.Publish{Body: []byte(body)}, 0)
	return l.outbox.flush()
}

// channels tells the frames that were written, by type and channel.
func channels(b []byte) (all []string) {
	for len(b) > 0 {
		head := frame.ParseHead(b)
		all = append(all, fmt.Sprintf("%d on %d", head.Type, head.Channel))
		b = b[int(head.Size)+frame.Overhead:]
	}
	return all
}

var (
	openFrame   = []byte("\x01\x00\x05\x00\x00\x00\x05\x00\x14\x00\x0a\x00\xce")
	greeting    = []byte("AMQP\x00\x00\x09\x01")
	closeFrame  = []byte("\x01\x00\x05\x00\x00\x00\x04\x00\x14\x00\x28\xce")
	cancelFrame = []byte("\x01\x00\x05\x00\x00\x00\x04\x00\x3c\x00\x1e\xce")
	otherFrame  = []byte("\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x3c\xce")
)

// The library writes in pieces of any size: nothing gets between those of a frame.
func TestPiecesOfTheLibrary(t *testing.T) {
	for size := 1; size <= len(openFrame); size++ {
		e := &end{}
		l := newLine(e)
		l.Write(greeting)
		for piece := range slices.Chunk(openFrame, size) {
			l.Write(piece)
			send(l, 7, "")
		}
		l.wait()
		got := channels(e.written.Bytes()[len(greeting):])
		if n := slices.Index(got, "1 on 5"); n < 0 || slices.Contains(got[n+1:], "1 on 5") || (len(got)-1)%2 != 0 {
			t.Errorf("pieces of %d: got %v", size, got)
		}
		if l.lastOpened() != 5 {
			t.Errorf("pieces of %d: channel %d was opened, want 5", size, l.lastOpened())
		}
	}
}

// While one writes, what the others have goes into one write, and none of it is mixed.
func TestWritesAreGrouped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &end{stuck: make(chan struct{})}
		l := newLine(e)
		const n = 50
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if err := send(l, uint16(i+1), "body"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(e.stuck)
		all.Wait()
		l.wait()
		if e.writes > 3 {
			t.Errorf("%d writes for %d messages, the first alone", e.writes, n)
		}
		got := channels(e.written.Bytes())
		if len(got) != 3*n {
			t.Fatalf("%d frames, want %d", len(got), 3*n)
		}
		for i := 0; i < len(got); i += 3 {
			c := got[i][len("1 on "):]
			if want := []string{"1 on " + c, "2 on " + c, "3 on " + c}; !slices.Equal(got[i:i+3], want) {
				t.Fatalf("got %v, want %v", got[i:i+3], want)
			}
		}
	})
}

// Nobody can have more written than the network takes: who comes then waits, and learns if nothing will be written any more.
func TestFullOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &end{stuck: make(chan struct{})}
		l := newLine(e)
		var failed []error
		l.attach(func(err error) { failed = append(failed, err) }, 0)
		var all sync.WaitGroup
		errs := make(chan error, 100)
		large := string(make([]byte, maxQueued/4))
		for range cap(errs) {
			all.Go(func() { errs <- send(l, 1, large) })
		}
		synctest.Wait()
		if room := cap(errs) - len(errs); len(errs) < 3 || len(errs) > 6 {
			t.Errorf("%d messages of a quarter of the limit were taken, and %d wait", len(errs), room)
		}
		broken := errors.New("broken")
		e.fails = broken
		close(e.stuck)
		all.Wait()
		l.wait()
		if err := send(l, 1, ""); err != broken {
			t.Errorf("after a failed write: got %v, want %v", err, broken)
		}
		if !slices.Equal(failed, []error{broken}) {
			t.Errorf("told of %v, want the one error, once", failed)
		}
	})
}

// What has closed the connection says why: writers that find it closed do not.
func TestClosedLine(t *testing.T) {
	l := newLine(&end{fails: net.ErrClosed})
	l.attach(func(err error) { t.Errorf("told of %v", err) }, 0)
	if err := send(l, 1, ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want closed", err)
	}
	l = newLine(&end{})
	l.Close()
	if err := send(l, 1, ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want closed", err)
	}
}

func TestAcksAreGrouped(t *testing.T) {
	tests := []struct {
		name     string
		acks     []uint64 // in this order, of deliveries 1 to 6
		nacks    []uint64 // before
		want     []string
		outstand []uint64
	}{
		{"one", []uint64{1}, nil, []string{"1"}, []uint64{2, 3, 4, 5, 6}},
		{"all", []uint64{3, 1, 2, 6, 5, 4}, nil, []string{"6 and before"}, nil},
		{"not the first", []uint64{3, 2}, nil, []string{"3", "2"}, []uint64{1, 4, 5, 6}},
		{"some from the first on", []uint64{5, 1, 2}, nil, []string{"2 and before", "5"}, []uint64{3, 4, 6}},
		{"after a nack", []uint64{2, 3}, []uint64{1}, []string{"3 and before"}, []uint64{4, 5, 6}},
		{"around a nack", []uint64{1, 3}, []uint64{2}, []string{"3 and before"}, []uint64{4, 5, 6}},
		{"a gap in the tags", []uint64{1, 2, 6}, []uint64{0}, []string{"1", "2", "6"}, []uint64{3, 4, 5}},
	}
	for _, tt := range tests {
		a := acks{channel: 1}
		var all [7]*received
		for tag := range uint64(6) {
			all[tag+1] = &received{tag: tag + 1}
			a.add(all[tag+1])
		}
		for _, tag := range tt.nacks {
			if tag == 0 { // stands for one that is missing
				a.add(&received{tag: 8})
				a.remove(a.last)
				continue
			}
			a.remove(all[tag])
		}
		for i, tag := range tt.acks {
			if first := a.ack(all[tag]); first != (i == 0) {
				t.Errorf("%s: ack %d says first: %v", tt.name, tag, first)
			}
		}
		var got []string
		for b := a.append(nil); len(b) > 0; b = b[frame.Overhead+13:] {
			var in frame.Inbox
			payload, err := frame.Payload(b[:frame.Overhead+13])
			if event, err2 := in.Next(frame.Method, payload); err != nil || err2 != nil || event != frame.Ack {
				t.Fatalf("%s: no ack: %v, %v", tt.name, err, err2)
			}
			text := fmt.Sprint(in.Tag)
			if in.Multiple {
				text += " and before"
			}
			got = append(got, text)
		}
		var outstand []uint64
		for r := a.first; r != nil; r = r.next {
			outstand = append(outstand, r.tag)
		}
		if !slices.Equal(got, tt.want) || !slices.Equal(outstand, tt.outstand) || len(a.due) > 0 {
			t.Errorf("%s: wrote %v, left %v; want %v, %v", tt.name, got, outstand, tt.want, tt.outstand)
		}
	}
}

// A close of the library must not overtake an acknowledgement of the same channel.
func TestAcksBeforeTheLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &end{stuck: make(chan struct{})}
		l := newLine(e)
		var all sync.WaitGroup
		all.Go(func() { send(l, 1, "") }) // so that the rest waits
		synctest.Wait()
		a := &acks{channel: 5}
		r := &received{tag: 1}
		a.add(r)
		l.outbox.lock(0)
		a.ack(r)
		l.acks = append(l.acks, a)
		l.outbox.flush()
		l.Write(closeFrame)
		close(e.stuck)
		all.Wait()
		l.wait()
		want := append(frame.AppendAck(nil, 5, 1, false), closeFrame...)
		if !bytes.HasSuffix(e.written.Bytes(), want) {
			t.Errorf("got %x, want it to end with %x", e.written.Bytes(), want)
		}
	})
}

func TestConfirms(t *testing.T) {
	type verdict struct {
		tag          uint64
		multiple, ok bool
	}
	tests := []struct {
		name     string
		verdicts []verdict
		want     []string // of five publishes
		left     int
	}{
		{"one by one", []verdict{{2, false, true}, {1, false, false}}, []string{"2 true", "1 false"}, 3},
		{"multiple", []verdict{{3, true, true}}, []string{"1 true", "2 true", "3 true"}, 2},
		{"multiple over one", []verdict{{2, false, false}, {3, true, true}}, []string{"2 false", "1 true", "3 true"}, 2},
		{"all", []verdict{{0, true, false}}, []string{"1 false", "2 false", "3 false", "4 false", "5 false"}, 0},
		{"twice", []verdict{{1, false, true}, {1, false, true}, {1, true, true}}, []string{"1 true"}, 4},
		{"never published", []verdict{{9, false, true}, {math.MaxUint64, false, true}, {math.MaxUint64, true, true}},
			[]string{"1 true", "2 true", "3 true", "4 true", "5 true"}, 0},
	}
	for _, tt := range tests {
		c := newConfirms()
		var got []string
		for tag := range 5 {
			c.add(func(ok bool) { got = append(got, fmt.Sprint(tag+1, " ", ok)) })
		}
		for _, v := range tt.verdicts {
			c.settle(v.tag, v.multiple, v.ok)
		}
		if !slices.Equal(got, tt.want) || len(c.waiting) != tt.left {
			t.Errorf("%s: got %v with %d left, want %v, %d", tt.name, got, len(c.waiting), tt.want, tt.left)
		}
	}
}

// pieces reads a few bytes at a time.
type pieces struct {
	r    io.Reader
	size int
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }

// However the bytes come, the library reads its frames and a lane gets its own, in the order of the broker.
func TestFramesAreSorted(t *testing.T) {
	delivery := func(body string) []byte {
		b := []byte("\x01\x00\x05\x00\x00\x00\x13\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01e\x01k\xce")
		p := frame.AppendPublish(nil, 5, &frame.Publish{Body: []byte(body)}, 1000)
		return append(b, p[int(frame.ParseHead(p).Size)+frame.Overhead:]...)
	}
	long := string(bytes.Repeat([]byte("x"), 5000))
	stream := slices.Concat(otherFrame, delivery("1"), otherFrame, delivery(long), delivery("3"), cancelFrame, otherFrame)
	for _, size := range []int{1, 2, 3, 7, 8, 100, 4096, len(stream)} {
		e := &end{reads: pieces{bytes.NewReader(stream), size}}
		l := newLine(e)
		var got []string
		c := &lane{id: 5, over: func(err error) { got = append(got, err.Error()) }}
		c.take = func(event frame.Event) { got = append(got, string(c.inbox.Body)) }
		l.lanes.add(c)
		library, err := io.ReadAll(l)
		if want := slices.Concat(otherFrame, otherFrame, cancelFrame, otherFrame); err != nil || !bytes.Equal(library, want) {
			t.Errorf("pieces of %d: the library got %x, %v; want %x", size, library, err, want)
		}
		if want := []string{"1", long, "3", ErrCancelled.Error()}; !slices.Equal(got, want) {
			t.Errorf("pieces of %d: the lane got %.200q", size, got)
		}
	}
}

// endless is a message with a body of so many bytes, of which none is anywhere before it is read.
func endless(size int64) io.Reader {
	const chunk = 64 << 10
	method := []byte("\x01\x00\x05\x00\x00\x00\x13\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01e\x01k\xce")
	header := append([]byte("\x02\x00\x05\x00\x00\x00\x0e\x00\x3c\x00\x00"), binary.BigEndian.AppendUint64(nil, uint64(size))...)
	body := slices.Concat([]byte("\x03\x00\x05\x00\x01\x00\x00"), make([]byte, chunk), []byte("\xce"))
	all := []io.Reader{bytes.NewReader(method), bytes.NewReader(append(header, "\x00\x00\xce"...))}
	for range size / chunk {
		all = append(all, bytes.NewReader(body))
	}
	return io.MultiReader(all...)
}

// A body that is longer than is of use takes no more memory than one that is not.
func TestLongBodyIsCut(t *testing.T) {
	const most, size = 100_000, 256 << 20
	l := newLine(&end{reads: endless(size)})
	got := 0
	c := &lane{id: 5, over: func(err error) { t.Error(err) }}
	c.inbox.MostBody = most
	c.take = func(frame.Event) { got = len(c.inbox.Body) }
	l.lanes.add(c)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if b, err := io.ReadAll(l); err != nil || len(b) > 0 || got != most {
		t.Errorf("got %d bytes of the body and %d others, %v; want %d", got, len(b), err, most)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d bytes were allocated", took)
	}
}

// RabbitMQ may send a header that is longer than was agreed: such a message has no properties, and ends nothing.
func TestLongHeader(t *testing.T) {
	routing := "\x01\x00\x05\x00\x00\x00\x13\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01e\x01k\xce"
	message := func(properties, body, end string) string {
		payload := "\x00\x3c\x00\x00" + string(binary.BigEndian.AppendUint64(nil, uint64(len(body)))) + properties
		header := "\x02\x00\x05" + string(binary.BigEndian.AppendUint32(nil, uint32(len(payload)))) + payload + end
		if body != "" {
			header += "\x03\x00\x05" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body + "\xce"
		}
		return routing + header
	}
	long := "\x04\x00\x01c" + strings.Repeat("x", 300_000)
	stream := message(long, "body", "\xce") + message(long, "", "\xce") + message("\x04\x00\x01c", "next", "\xce")
	for _, size := range []int{1, 1000, len(stream)} {
		l := newLine(&end{reads: pieces{strings.NewReader(stream), size}})
		var got []string
		c := &lane{id: 5, over: func(err error) { t.Error(err) }}
		c.take = func(frame.Event) { got = append(got, c.inbox.CorrelationID+":"+string(c.inbox.Body)) }
		l.lanes.add(c)
		if b, err := io.ReadAll(l); err != nil || len(b) > 0 || !slices.Equal(got, []string{":body", ":", "c:next"}) {
			t.Errorf("pieces of %d: got %q, %d bytes for the library, %v", size, got, len(b), err)
		}
	}
	for name, b := range map[string]string{
		"no end":       message(long, "body", "\x00"),
		"no message":   message(long, "", "\xce")[len(routing):],
		"of no class":  strings.Replace(message(long, "", "\xce"), "\x00\x3c\x00\x00", "\x00\x00\x00\x00", 1),
		"body as long": message("", strings.Repeat("x", 300_000), "\xce"),
	} {
		l := newLine(&end{reads: strings.NewReader(b)})
		var cause error
		l.attach(func(err error) { cause = err }, time.Second)
		l.lanes.add(&lane{id: 5, take: func(frame.Event) { t.Errorf("%s: taken", name) }})
		if _, err := io.ReadAll(l); err == nil || !errors.Is(cause, ErrUnreadable) {
			t.Errorf("%s: read %v, cause %v", name, err, cause)
		}
	}
}

// On a channel that the broker has closed nothing is written any more, and its number can be another's.
func TestChannelClosedByTheBroker(t *testing.T) {
	l := newLine(&end{reads: bytes.NewReader([]byte("\x01\x00\x05\x00\x00\x00\x0b\x00\x14\x00\x28\x01\x94\x04gone\xce"))})
	var cause error
	c := &lane{id: 5, over: func(err error) { cause = err }}
	l.lanes.add(c)
	if b, err := io.ReadAll(l); err != nil || len(b) != 19 {
		t.Errorf("the library got %x, %v", b, err)
	}
	if !errors.Is(cause, ErrNotFound) || cause.Error() != "gone (404)" || !c.closed || l.lanes.get(5) != nil {
		t.Errorf("got %v, closed %v, lane %v", cause, c.closed, l.lanes.get(5))
	}
	next := &lane{id: 5}
	l.lanes.add(next)
	l.lanes.remove(c)
	if l.lanes.get(5) != next {
		t.Error("a lane was removed with another's number")
	}
}

// What a lane cannot read ends the session, as unreadable; so does a frame that is longer than was agreed.
func TestHostileBroker(t *testing.T) {
	for name, b := range map[string]string{
		"no end":        "\x01\x00\x05\x00\x00\x00\x04\x00\x3c\x00\x50\x00",
		"malformed":     "\x01\x00\x05\x00\x00\x00\x04\x00\x3c\x00\x50\xce",
		"header alone":  "\x02\x00\x05\x00\x00\x00\x00\xce",
		"too long":      "\x03\x00\x05\x7f\xff\xff\xff", // for an int of 32 bits, too
		"longest":       "\x03\x00\x05\xff\xff\xff\xff",
		"close, no end": "\x01\x00\x05\x00\x00\x00\x04\x00\x14\x00\x28\x00",
	} {
		l := newLine(&end{reads: bytes.NewReader([]byte(b))})
		var cause error
		l.attach(func(err error) { cause = err }, time.Second)
		l.lanes.add(&lane{id: 5})
		_, err := io.ReadAll(l)
		if err == nil || !errors.Is(cause, ErrUnreadable) {
			t.Errorf("%s: read %v, cause %v", name, err, cause)
		}
	}
	longest := "\x03\x00\x06\xff\xff\xff\xffx"
	l := newLine(&end{reads: bytes.NewReader([]byte(longest + longest))})
	if b, err := io.ReadAll(l); err != nil || string(b) != longest+longest {
		t.Errorf("the longest frame, of the library: got %x, %v", b, err)
	}
	l = newLine(&end{reads: bytes.NewReader([]byte("\x01\x00\x05\x00"))})
	if _, err := io.ReadAll(l); err != io.ErrUnexpectedEOF {
		t.Errorf("cut in a frame: got %v, want unexpected EOF", err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte("\x01\x00\x05\x00\x00\x00\x13\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01e\x01k\xce"), 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if size < 1 {
			return
		}
		l := newLine(&end{reads: pieces{bytes.NewReader(b), size}})
		l.attach(func(error) {}, time.Second)
		c := &lane{id: 5, over: func(error) {}}
		c.take = func(frame.Event) {}
		l.lanes.add(c)
		if got, _ := io.ReadAll(l); len(got) > len(b) {
			t.Errorf("the library reads %d bytes of %d", len(got), len(b))
		}
	})
}

// Who is alone writes at once. Who is not leaves it to a goroutine, until he is alone again.
func TestWriteInACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &end{stuck: make(chan struct{})}
		l := newLine(e)
		returned := func() (n int) {
			done := make(chan struct{})
			go func() { defer close(done); send(l, 7, "") }()
			synctest.Wait()
			select {
			case <-done:
				n = 1
			default:
			}
			e.stuck <- struct{}{}
			l.wait()
			<-done
			return n
		}
		for range 100 {
			if returned() == 1 {
				t.Fatal("somebody who is alone does not write himself")
			}
		}
		l.load = 4 * parts
		crowded := 0
		for l.load >= crowd {
			crowded += returned()
		}
		if crowded < 5 || crowded > 50 {
			t.Errorf("%d were in a crowd that had gone, want a few", crowded)
		}
		if returned() == 1 {
			t.Error("somebody who is alone again does not write himself")
		}
	})
}
