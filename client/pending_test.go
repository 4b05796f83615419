package client

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestOneCallPerID(t *testing.T) {
	p := newPending()
	first := newCall(context.Background(), &rpc.Request{ID: "1"})
	if !p.add(first) {
		t.Fatal("a first call is refused")
	}
	if p.add(newCall(context.Background(), &rpc.Request{ID: "1"})) {
		t.Error("a second call has the ID of one that waits")
	}
	p.remove(first, false)
	if p.get("1") != nil {
		t.Error("a call that was removed is there")
	}
}

// An ending that comes late must not be taken for that of the next attempt, nor take its place.
func TestLateEnding(t *testing.T) {
	c := newCall(context.Background(), &rpc.Request{ID: "1"})
	for n := 1; n <= 5000; n++ {
		c.begin(wire.Plain, false, time.Time{})
		var wg sync.WaitGroup
		wg.Go(func() { c.end(ending{attempt: n, reason: "late"}) })
		c.begin(wire.Plain, false, time.Time{})
		wg.Wait()
		if _, ended := c.ended(); ended {
			t.Fatalf("attempt %d ended with the ending of the one before", c.req.Attempt)
		}
		n++
		c.end(ending{attempt: n, kind: returned})
		if e, ended := c.ended(); !ended || e.kind != returned {
			t.Fatalf("the ending of attempt %d is lost", n)
		}
	}
}

func TestFirstReplyCounts(t *testing.T) {
	c := newCall(context.Background(), &rpc.Request{ID: "1"})
	c.begin(wire.Plain, false, time.Time{})
	first, second := &conn.Message{Body: []byte("1")}, &conn.Message{Body: []byte("2")}
	if !c.accept(first) || c.accept(second) {
		t.Error("want the first reply and no other")
	}
	c.end(ending{attempt: 1})
	if e, ok := c.replied(); !ok || string(e.reply.Body) != "1" {
		t.Errorf("got %+v, want the first reply", e)
	}
	_, more := c.replied()
	_, ended := c.ended()
	if c.accept(second) || more || ended {
		t.Error("more came after the reply")
	}
}

// What comes late for a call must not wake another, which has its channel by then.
func TestLateNews(t *testing.T) {
	p := newPending()
	late, next := newCall(context.Background(), &rpc.Request{ID: "1"}), newCall(context.Background(), &rpc.Request{ID: "2"})
	p.add(late)
	late.begin(wire.Plain, false, time.Time{})
	late.accept(&conn.Message{}) // and is not looked at
	news := late.news
	p.remove(late, false)
	p.add(next)
	if next.news != news {
		t.Fatal("the channel is not used again")
	}
	late.begin(wire.Plain, false, time.Time{})
	late.end(ending{attempt: 2, kind: returned})
	p.wakeAll()
	<-next.news // by wakeAll
	late.accept(&conn.Message{})
	if len(next.news) != 0 {
		t.Error("the next call is woken by what is late")
	}
}

// A no to an earlier attempt must not end the present one: that may be executed.
func TestLateRefusal(t *testing.T) {
	refusal := func(attempt int64, executed string) *conn.Message {
		return &conn.Message{Headers: map[string]any{"rpc-attempt": attempt, "rpc-code": "unavailable", "rpc-executed": executed}}
	}
	c := newCall(context.Background(), &rpc.Request{ID: "1"})
	c.begin(wire.Plain, false, time.Time{})
	if !c.accept(refusal(1, "no")) {
		t.Error("the answer to the present attempt is refused")
	}
	c.replied()
	c.begin(wire.Plain, false, time.Time{})
	for _, executed := range []string{"no", "unknown"} {
		if c.accept(refusal(1, executed)) {
			t.Errorf("a no to the attempt before, executed %s, is taken for the answer", executed)
		}
	}
	if !c.accept(refusal(1, "yes")) { // speaks for the call
		t.Error("what the call came to is refused")
	}
}

// What is late for a call is no answer to another one under its ID, and is one to the same call, made again.
func TestLateReplyToAnotherCall(t *testing.T) {
	p := newPending()
	reply := func(attempt int64) *conn.Message {
		return &conn.Message{Headers: map[string]any{"rpc-attempt": attempt}}
	}
	for n, c := range []struct {
		body string
		own  []int64 // attempts whose replies are the call's
	}{
		{"x", []int64{1}},
		{"x", []int64{1, 2}},
		{"y", []int64{3}},
		{"y", []int64{3, 4}},
		{"x", []int64{5}}, // of its own that is not known any more
	} {
		for attempt := int64(1); attempt <= int64(n)+1; attempt++ {
			call := newCall(context.Background(), &rpc.Request{ID: "1", Body: []byte(c.body)})
			p.add(call)
			call.begin(wire.Plain, false, time.Time{})
			if got, want := call.accept(reply(attempt)), slices.Contains(c.own, attempt); got != want {
				t.Errorf("call %d: the reply to attempt %d is taken: %v, want %v", n+1, attempt, got, want)
			}
			call.attempt = n + 1 // as if it were one call
			p.remove(call, attempt == int64(n)+1)
		}
	}
}
