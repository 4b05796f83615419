package server_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// forbidden is a connector whose user may declare nothing.
type forbidden struct {
	conn.Connector
	asked atomic.Int32 // declarations that were refused
}

type forbiddenSession struct {
	conn.Session
	asked *atomic.Int32
}

func (f *forbidden) Session(ctx context.Context) (conn.Session, error) {
	s, err := f.Connector.Session(ctx)
	return forbiddenSession{s, &f.asked}, err
}

func (s forbiddenSession) refuse() error {
	s.asked.Add(1)
	return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}
}
func (s forbiddenSession) DeclareExchange(context.Context, conn.Exchange) error { return s.refuse() }
func (s forbiddenSession) BindQueue(context.Context, string, string, string) error {
	return s.refuse()
}
func (s forbiddenSession) DeclareQueue(context.Context, conn.Queue) (conn.QueueInfo, error) {
	return conn.QueueInfo{}, s.refuse()
}

// provision declares what the service math needs, as somebody who may.
func provision(t *testing.T, r *rig) {
	t.Helper()
	s, err := r.broker.Connector("provisioner").Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	topology := wire.NewTopology("math", 0, 0)
	if err := s.DeclareExchange(t.Context(), topology.Exchange); err != nil {
		t.Fatal(err)
	}
	for _, q := range []conn.Queue{topology.Queue, topology.Parked, wire.PlainQueue("plain")} {
		if _, err := s.DeclareQueue(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.BindQueue(t.Context(), topology.Queue.Name, topology.Exchange.Name, ""); err != nil {
		t.Fatal(err)
	}
}

func TestServeWhatOthersDeclared(t *testing.T) {
	for name, opts := range map[string][]conntest.Option{
		"may look at queues": nil, "may not even look, as with RabbitMQ 4.3": {conntest.WithoutInspect()},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) { serveWhatOthersDeclared(t, r, r.broker.Connector("forbidden", opts...)) })
		})
	}
}

func serveWhatOthersDeclared(t *testing.T, r *rig, connector *conntest.Connector) {
	provision(t, r)
	c := &forbidden{Connector: connector}
	r.start(c, twice, server.WithQueue("plain", "double"), memory(t, 5))
	before := c.asked.Load()
	time.Sleep(time.Minute)
	if again := c.asked.Load() - before; again != 0 {
		t.Errorf("the broker had to refuse %d more declarations in a minute, want none", again)
	}
	if log := r.log.String(); strings.Count(log, "may not declare") != 1 || strings.Contains(log, "cannot") {
		t.Errorf("want one line that it relies on others; log:\n%s", log)
	}
	r.send(r.request("21")) // was started five times in vain
	synctest.Wait()
	if n := len(r.parked()); n != 1 {
		t.Errorf("%d parked, want 1\n%s", n, r.log)
	}
}

// Without what it needs a server says what is missing, and who has to do something about it; and serves as soon as that is
// done.
func TestServeOnceOthersHaveDeclared(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.launch(&forbidden{Connector: r.conn}, func(s *server.Server) { server.Handle(s, double, twice) })
		time.Sleep(time.Second)
		if log := r.log.String(); !strings.Contains(log, "404") || !strings.Contains(log, "have it declared, this server may not") {
			t.Errorf("log:\n%s", log)
		}
		provision(t, r)
		time.Sleep(5 * time.Second)
		r.mustAnswer()
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}
