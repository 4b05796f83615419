package wire_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestNames(t *testing.T) {
	const letters = "azAZ09"
	for _, c := range []struct {
		name            string
		service, method bool
	}{
		{letters, true, true},
		{strings.Repeat("a", 100), true, true},
		{strings.Repeat("a", 101), false, false},
		{"", false, false},
		{"-_", true, true},
		{"a.b", false, true}, // "math.parked" would own the parked queue of math
		{"a/b", false, true},
		{"*", false, false},
		{"#", false, false},
		{"a b", false, false},
		{"a\n", false, false},
		{"a\x00", false, false},
		{"é", false, false},
		{"\xff", false, false},
	} {
		if got := wire.CheckService(c.name) == nil; got != c.service {
			t.Errorf("service %q: legal %v, want %v", c.name, got, c.service)
		}
		if got := wire.CheckMethod(c.name) == nil; got != c.method {
			t.Errorf("method %q: legal %v, want %v", c.name, got, c.method)
		}
	}
}

func TestKindOfReplyTo(t *testing.T) {
	for _, c := range []struct {
		replyTo string
		want    wire.ReplyKind
	}{
		{"", wire.ReplyNone},
		{"amq.gen-JzTY20BRgKO-HjmUJj0wLg", wire.ReplyServer},
		{"amq.rabbitmq.reply-to.g1h2AA5yZXBseQ==", wire.ReplyDirect},
		{"amq.rabbitmq.reply-to.", wire.ReplyNone},
		{"amq.rabbitmq.reply-to", wire.ReplyNone}, // what a caller writes; the broker makes an address of it
		{"amq.topic", wire.ReplyNone},
		{"amq.anything", wire.ReplyNone},
		{"rabbitrpc.math", wire.ReplyNone},
		{"rabbitrpc.math.parked", wire.ReplyNone},
		{"rabbitrpc", wire.ReplyNamed},
		{"rpc_queue", wire.ReplyNamed},
		{"my-replies", wire.ReplyNamed},
		{"amq.gen-\x1b[31m", wire.ReplyNone},
		{"amq.gen-a\nb", wire.ReplyNone},
		{"two words", wire.ReplyNamed},
		{"réponse", wire.ReplyNamed},
		{"\xff", wire.ReplyNone},
		{"\x00", wire.ReplyNone},
		{"\x7f", wire.ReplyNone},
	} {
		if got := wire.KindOfReplyTo(c.replyTo); got != c.want {
			t.Errorf("%q: got kind %d, want %d", c.replyTo, got, c.want)
		}
	}
}

// However it is written, an address that may be answered names no queue of a service, and can be published to.
func FuzzKindOfReplyTo(f *testing.F) {
	for _, s := range []string{
		"", "amq.gen-1", "amq.rabbitmq.reply-to.g1h2", "amq.rabbitmq.reply-to", "amq.topic", "rabbitrpc.math", "rpc_queue", "é", "\x1b[31m",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kind := wire.KindOfReplyTo(s)
		broker := strings.HasPrefix(s, "amq.")
		switch kind {
		case wire.ReplyNone:
			if printable := utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl); printable && s != "" && !broker &&
				!strings.HasPrefix(s, "rabbitrpc.") {
				t.Errorf("%q may not be answered", s)
			}
			return
		case wire.ReplyServer, wire.ReplyDirect:
			if !broker {
				t.Errorf("%q is a name of the broker's: %d", s, kind)
			}
		case wire.ReplyNamed:
			if broker {
				t.Errorf("%q is no name of the broker's", s)
			}
		default:
			t.Errorf("%q has kind %d", s, kind)
		}
		if strings.HasPrefix(s, "rabbitrpc.") || strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) || s == "" {
			t.Errorf("%q may be answered: %d", s, kind)
		}
		if err := wire.EncodeReply(&wire.Call{ReplyTo: s}, &rpc.Reply{}).Validate(); err != nil && len(s) <= 255 {
			t.Error(err)
		}
	})
}

// A service's queue must not pass for a reply address: that is the routing key of requests, by which a dead letter goes through
// the default exchange.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"math", "a.b", "*", "é", strings.Repeat("a", 100)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if wire.CheckService(name) == nil {
			if wire.CheckMethod(name) != nil {
				t.Errorf("%q is a service but no method", name)
			}
			queue := wire.Queue(name)
			if kind := wire.KindOfReplyTo(queue); kind != wire.ReplyNone {
				t.Errorf("queue %q passes as a reply address of kind %d", queue, kind)
			}
			if err := (&conn.Message{Key: queue + ".parked"}).Validate(); err != nil {
				t.Error(err)
			}
		}
		if wire.CheckMethod(name) == nil {
			r := request()
			r.Method = name
			if c, err := wire.DecodeRequest(wire.EncodeRequest(r, attempt(wire.Direct)), source()); err != nil || c.Method != name {
				t.Errorf("got %q, %v, want %q", c.Method, err, name)
			}
		}
	})
}

func TestRefusedFor(t *testing.T) { // the texts are RabbitMQ's
	const large = "PRECONDITION_FAILED - message size 20 is larger than configured max size 10 (406)"
	const user = "PRECONDITION_FAILED - user_id property set to 'mallory' but authenticated user was 'web' (406)"
	for _, c := range []struct {
		size       int
		user, text string
		want       rpc.Code
	}{
		{20, "", large, rpc.InvalidArgument},
		{11, "web", large, rpc.InvalidArgument},
		{10, "", large, rpc.OK},
		{1, "mallory", user, rpc.PermissionDenied},
		{1, "mallor", user, rpc.OK},
		{1, "web", user, rpc.OK},
		{1, "", user, rpc.OK},
		{20, "mallory", "PRECONDITION_FAILED - invalid expiration 'x' (406)", rpc.OK},
		{20, "", "message size 20 is larger than configured max size 99999999999999999999", rpc.OK},
	} {
		r := &rpc.Request{User: c.user, Body: make([]byte, c.size)}
		if got := wire.RefusedFor(r, c.text); got != c.want {
			t.Errorf("%d bytes of %q by %q: got %v, want %v", c.size, c.user, c.text, got, c.want)
		}
	}
}

func TestDenies(t *testing.T) { // the texts are RabbitMQ's
	const refused = "ACCESS_REFUSED - access to exchange 'rabbitrpc.math' in vhost '/' refused for user 'web' (403)"
	const missing = "NOT_FOUND - no exchange 'rabbitrpc.math' in vhost '/' (404)"
	for _, c := range []struct {
		service, refusal string
		want             bool
	}{
		{"math", refused, true},
		{"mat", refused, false},
		{"math", missing, true},
		{"mat", missing, false},
		{"math", "ACCESS_REFUSED - access to exchange 'rabbitrpc' in vhost '/' refused for user 'web' (403)", false},
		{"math", "ACCESS_REFUSED - access to queue 'rabbitrpc.math' in vhost '/' refused for user 'web' (403)", false},
	} {
		if got := wire.Denies(c.service, c.refusal); got != c.want {
			t.Errorf("%s by %q: got %v, want %v", c.service, c.refusal, got, c.want)
		}
	}
}
