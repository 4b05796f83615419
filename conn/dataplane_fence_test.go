package conn

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// fenced is a session whose connections go to an end, and the fence of one of its channels.
func fenced() (*session, *fence, *end) {
	e := &end{}
	l := &link{line: newLine(e), sock: &socket{Conn: e}}
	s := &session{done: make(chan struct{}), pub: l, sub: l}
	f := &fence{}
	f.init(s, 5)
	return s, f, e
}

func (f *fence) publish(confirmed func(ok bool), later bool) {
	o := &f.s.pub.line.outbox
	o.lock(0)
	f.add(confirmed, later)
	o.flush()
}

// While a question is out, what is published gathers for the next.
func TestFence(t *testing.T) {
	s, f, e := fenced()
	question := frame.AppendQos(nil, 5)
	var got []int
	ask := func(n int) { f.publish(func(ok bool) { got = append(got, n) }, false) }
	for i, step := range []struct {
		do        func()
		confirmed []int
		questions int // in all
	}{
		{func() { ask(1) }, nil, 1},
		{func() { ask(2); ask(3) }, nil, 1},
		{f.pass, []int{1}, 2},
		{func() { ask(4) }, []int{1}, 2},
		{f.pass, []int{1, 2, 3}, 3},
		{f.pass, []int{1, 2, 3, 4}, 3},
		{f.pass, []int{1, 2, 3, 4}, 3}, // an answer that nobody has asked for
		{func() { ask(5) }, []int{1, 2, 3, 4}, 4},
		{f.pass, []int{1, 2, 3, 4, 5}, 4},
	} {
		step.do()
		s.pub.line.wait()
		if n := bytes.Count(e.written.Bytes(), question); !slices.Equal(got, step.confirmed) || n != step.questions {
			t.Errorf("step %d: confirmed %v with %d questions, want %v, %d", i, got, n, step.confirmed, step.questions)
		}
	}
}

// Who can wait shares a question with those who come soon, or who cannot.
func TestFenceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, e := fenced()
		var got []int
		later := func(n int) { f.publish(func(bool) { got = append(got, n) }, true) }
		now := func(n int) { f.publish(func(bool) { got = append(got, n) }, false) }
		for i, step := range []struct {
			do        func()
			confirmed []int
			questions int // in all
		}{
			{func() { later(1); later(2) }, nil, 0},
			{f.pass, nil, 0}, // nothing was asked
			{func() { now(3) }, nil, 1},
			{func() { time.Sleep(2 * fencePatience) }, nil, 1},
			{func() { later(4) }, nil, 1},
			{f.pass, []int{1, 2, 3}, 1},
			{func() { time.Sleep(fencePatience) }, []int{1, 2, 3}, 2},
			{func() { later(5); now(6) }, []int{1, 2, 3}, 2},
			{f.pass, []int{1, 2, 3, 4}, 3},
			{f.pass, []int{1, 2, 3, 4, 5, 6}, 3},
			{func() { later(7); time.Sleep(fencePatience) }, []int{1, 2, 3, 4, 5, 6}, 4},
			{func() { f.pass(); time.Sleep(2 * opTimeout) }, []int{1, 2, 3, 4, 5, 6, 7}, 4},
		} {
			step.do()
			synctest.Wait()
			s.pub.line.outbox.mu.Lock() // Wait does not order what a goroutine has done that has ended
			n := bytes.Count(e.written.Bytes(), frame.AppendQos(nil, 5))
			s.pub.line.outbox.mu.Unlock()
			if !slices.Equal(got, step.confirmed) || n != step.questions {
				t.Errorf("step %d: confirmed %v with %d questions, want %v, %d", i, got, n, step.confirmed, step.questions)
			}
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}

		later(8)
		s.pub.line.outbox.end(net.ErrClosed)
		time.Sleep(2 * opTimeout)
		if err := s.Err(); err != nil || len(got) != 7 {
			t.Errorf("after the end of the line: %v, confirmed %v", err, got)
		}
	})
}

// A question that is not answered costs the session its life, unless the broker takes no messages.
func TestFenceIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, _ := fenced()
		f.publish(func(bool) {}, false)
		f.pass()
		time.Sleep(2 * opTimeout)
		if err := s.Err(); err != nil {
			t.Errorf("ended without a question: %v", err)
		}
		s.setBlocked(amqp.Blocking{Active: true})
		f.publish(func(bool) { t.Error("confirmed") }, false)
		time.Sleep(5 * opTimeout)
		if err := s.Err(); err != nil {
			t.Errorf("ended in an alarm: %v", err)
		}
		s.setBlocked(amqp.Blocking{})
		time.Sleep(opTimeout + time.Second)
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("got %v, want no answer", err)
		}
	})
}
