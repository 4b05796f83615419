package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestDiscoveryKeys(t *testing.T) {
	for service, want := range map[string]string{"": "discover", "math": "discover.math"} {
		if got := wire.DiscoveryKey(service); got != want {
			t.Errorf("key of %q: got %s, want %s", service, got, want)
		}
	}
	if kind := wire.KindOfReplyTo(wire.InstanceQueue("math", "X")); kind != wire.ReplyNone {
		t.Error("a caller can have answers sent to an instance's queue")
	}
	if wire.InstanceQueue("math", "X") == wire.ParkedQueue("math") {
		t.Error("an instance's queue has the name of the parked queue")
	}
}

func TestAnswerTooLarge(t *testing.T) {
	i := &rpc.Instance{Service: "math", ID: "1", Info: &rpc.InstanceInfo{Methods: []string{strings.Repeat("m", 64<<10)}}}
	if _, err := wire.EncodeAnswer(&wire.Call{ReplyTo: "amq.gen-1"}, i); err == nil {
		t.Error("an answer that no caller would take was encoded")
	}
}

// Whatever comes, an answer that is taken is one that an instance could have given.
func FuzzDiscovery(f *testing.F) {
	f.Add(wire.Info, "amq.gen-1", "4f1c", []byte(`{"service":"math","name":"host/1","id":"7QK2","uptime_ms":-1}`))
	f.Add(wire.Ping, "", "", []byte(`{"service":"math","id":"","info":{"methods":null}}`))
	f.Add("double", "work", "1", []byte("{"))
	f.Fuzz(func(t *testing.T, method, replyTo, id string, body []byte) {
		m := wire.EncodeQuestion(method, "math", id, replyTo, time.Second)
		m.Body = body
		if c, err := wire.DecodeQuestion(m, "math"); err == nil && (!strings.HasPrefix(c.ReplyTo, "amq.gen-") || c.ID == "") {
			t.Errorf("a question to be answered to %q as %q", c.ReplyTo, c.ID)
		}
		i, err := wire.DecodeAnswer(&conn.Message{Body: body})
		if err != nil {
			return
		}
		if wire.CheckService(i.Service) != nil || i.ID == "" || len(i.ID) > 100 || len(i.Name) > 255 || i.Uptime() < 0 {
			t.Errorf("got %+v", i)
		}
	})
}
