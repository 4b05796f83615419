package status

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Who calls may make up names without an end: what is remembered has one.
func TestRecorderIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		for i := range 10_000 {
			r.add(method{"math", fmt.Sprint(i)}, time.Millisecond, false)
		}
		time.Sleep(time.Second)
		all, methods := r.traffic("math")
		if len(methods) != maxMethods || r.methods.Len() != maxMethods {
			t.Errorf("%d methods, want %d", len(methods), maxMethods)
		}
		near(t, "rate", all.Rate, maxMethods)
		if _, methods := r.traffic("other"); len(methods) != 0 {
			t.Errorf("another service has %d methods", len(methods))
		}
	})
}

func TestErrorLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l errorLog
		if got := l.latest(); got == nil || len(got) != 0 {
			t.Errorf("got %v, want an empty list", got)
		}
		first, second := rpc.Errorf(rpc.NotFound, "no user 1"), rpc.Errorf(rpc.NotFound, "no user 2")
		l.add("answered", method{"users", "get"}, "call-1", first)
		l.add("answered", method{"users", "put"}, "call-2", first)
		l.add("called", method{"users", "get"}, "call-3", first)
		l.add("answered", method{"users", "get"}, "call-4", errors.New("password is hunter2"))
		time.Sleep(time.Second)
		l.add("answered", method{"users", "get"}, "call-5", second)
		time.Sleep(time.Second)
		got := l.latest()
		if len(got) != 4 {
			t.Fatalf("%d kinds, want 4: %+v", len(got), got)
		}
		if want := (Error{Where: "users.get", Side: "answered", Code: "not_found", Text: "no user 2", Call: "call-5", Ago: 1, Count: 2}); got[0] != want {
			t.Errorf("got %+v, want %+v", got[0], want)
		}
		if got[1].Code != "unknown" || strings.Contains(got[1].Text, "hunter2") {
			t.Errorf("an error without a code shows as %+v", got[1])
		}
		for i := range 1000 {
			l.add("called", method{"users", fmt.Sprint(i)}, "", first)
		}
		if got := l.latest(); len(got) != maxErrors || got[0].Where != "users.999" {
			t.Errorf("%d kinds, the latest %s; want %d, users.999", len(got), got[0].Where, maxErrors)
		}
	})
}

// TestHostileTexts: whatever strangers write, a page and a terminal show it, and do nothing else.
func TestHostileTexts(t *testing.T) {
	var l errorLog
	nasty := "a\nb\x1b[2J\x00\u202e\xff" + strings.Repeat("ü", 1000)
	l.add("answered", method{"math", nasty}, nasty, rpc.Errorf(rpc.Internal, "%s", nasty))
	e := l.latest()[0]
	for _, text := range []string{e.Where, e.Text, e.Call} {
		if n := len([]rune(text)); n > 2*maxText {
			t.Errorf("a text has %d characters", n)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not printable: %q", text)
		}
		if !strings.Contains(text, `a\nb\x1b[2J\x00\u202e`) || !strings.HasSuffix(text, "ü…") {
			t.Errorf("got %s", text)
		}
	}
}
