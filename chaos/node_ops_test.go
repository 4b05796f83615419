package chaos_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// dial opens a session with the node at url, for the test alone.
func dial(ctx context.Context, url string) (conn.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := conn.Open(ctx, url, conn.WithLogger(slog.New(slog.DiscardHandler)), conn.WithBackgroundDial())
	if err != nil {
		return nil, err
	}
	defer m.Close(ctx)
	return m.Dial(ctx)
}

func session(t *testing.T, url string) conn.Session {
	t.Helper()
	s, err := dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

// declare makes a durable queue with some messages in it.
func declare(t *testing.T, s conn.Session, queue string, messages int) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.DeclareQueue(ctx, conn.Queue{Name: queue, Durable: true}); err != nil {
		t.Fatal(err)
	}
	send(t, s, queue, messages)
}

func send(t *testing.T, s conn.Session, queue string, messages int) {
	t.Helper()
	p, err := s.OpenPublisher(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	confirmed := make(chan bool, messages)
	for range messages {
		if err := p.Publish(&conn.Message{Key: queue}, func(ok bool) { confirmed <- ok }); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		select {
		case ok := <-confirmed:
			if !ok {
				t.Error("the broker has refused a message")
			}
		case <-time.After(patience):
			t.Fatal("no confirm")
		}
	}
}

// wantEnd waits for the end of a session, and checks its cause.
func wantEnd(t *testing.T, s conn.Session, cause string) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatalf("the session goes on, want %s", cause)
	}
	if err := s.Err(); !strings.Contains(err.Error(), cause) {
		t.Errorf("the session ended with %v, want %s", err, cause)
	}
}

// wantRefused checks that nobody can dial url.
func wantRefused(t *testing.T, url, reason string) {
	t.Helper()
	s, err := dial(t.Context(), url)
	if err == nil {
		s.Close(t.Context())
		t.Errorf("dialled, want %s", reason)
	} else if !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want %s", err, reason)
	}
}

// Each operation shows at clients as its documentation says.
func TestOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	t.Parallel()
	n := startNode(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *chaos.Node)
	}{
		{"inventory", testInventory},
		{"queues and exchanges", testEntities},
		{"virtual hosts", testVhosts},
		{"users", testUsers},
		{"limits", testLimits},
		{"alarms", testAlarms},
		{"consumer timeout", testConsumerTimeout},
		{"close connections", testCloseConnections},
		{"maintenance", testMaintenance},
		{"stop and start the application", testApp},
		{"none of it on a node that is down", testOperationsDown},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, n) })
	}
}

func do(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func testInventory(t *testing.T, n *chaos.Node) {
	ctx := t.Context()
	before, err := n.Inventory(ctx)
	do(t, "take inventory", err)
	s := session(t, n.URL())
	const name = `a "b" \ ü c`
	declare(t, s, name, 3)
	if _, err := s.DeclareQueue(ctx, conn.Queue{Name: "quorum", Durable: true, Args: map[string]any{"x-queue-type": "quorum"}}); err != nil {
		t.Fatal(err)
	}
	send(t, s, "quorum", 2)
	if _, err := s.Consume(ctx, conn.Consume{Queue: name, Prefetch: 1}, func(*conn.Delivery) {}); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{name: 3, "quorum": 2}
	var got chaos.Inventory
	eventually(t, "a quorum queue is never counted", func() bool {
		got, err = n.Inventory(ctx)
		return err != nil || got.Queues["quorum"] == 2
	})
	do(t, "take inventory", err)
	if !maps.Equal(got.Queues, want) {
		t.Errorf("messages: got %v, want %v", got.Queues, want)
	}
	if got.Connections != before.Connections+2 || got.Channels <= before.Channels || got.Consumers != before.Consumers+1 {
		t.Errorf("got %+v, want two connections, some channels and a consumer more than %+v", got, before)
	}
	s.Close(ctx)
	do(t, "delete", errors.Join(n.DeleteQueue(ctx, name), n.DeleteQueue(ctx, "quorum")))
	eventually(t, "something is left of a closed session", func() bool {
		got, err = n.Inventory(ctx)
		return err == nil && got.Connections == before.Connections && got.Channels == before.Channels &&
			got.Consumers == before.Consumers && len(got.Queues) == 0
	})
}

func testEntities(t *testing.T, n *chaos.Node) {
	ctx := t.Context()
	s := session(t, n.URL())
	declare(t, s, "queue", 3)
	if purged, err := n.PurgeQueue(ctx, "queue"); purged != 3 || err != nil {
		t.Errorf("purged %d messages (%v), want 3", purged, err)
	}
	if q, err := s.InspectQueue(ctx, "queue"); q.Messages != 0 || err != nil {
		t.Errorf("purged: got %d messages (%v), want none", q.Messages, err)
	}
	if _, err := s.Consume(ctx, conn.Consume{Queue: "queue", Prefetch: 1}, func(*conn.Delivery) {}); err != nil {
		t.Fatal(err)
	}
	do(t, "delete", n.DeleteQueue(ctx, "queue"))
	wantEnd(t, s, "cancelled")
	_, purging := n.PurgeQueue(ctx, "queue")
	for what, err := range map[string]error{
		"purge": purging, "delete": n.DeleteQueue(ctx, "queue"), "delete exchange": n.DeleteExchange(ctx, "exchange"),
	} {
		if err == nil || !strings.Contains(err.Error(), "not_found") {
			t.Errorf("%s what there is not: got %v, want not_found", what, err)
		}
	}

	s = session(t, n.URL())
	do(t, "declare", s.DeclareExchange(ctx, conn.Exchange{Name: "exchange", Kind: "direct", Durable: true}))
	do(t, "delete", n.DeleteExchange(ctx, "exchange"))
	p, err := s.OpenPublisher(ctx, nil)
	do(t, "open publisher", err)
	do(t, "publish", p.Publish(&conn.Message{Exchange: "exchange"}, nil))
	wantEnd(t, s, "404")
}

func testVhosts(t *testing.T, n *chaos.Node) {
	ctx := t.Context()
	url := n.URLFor("guest", "guest", "a/b c")
	wantRefused(t, url, "530")
	do(t, "add", n.AddVhost(ctx, "a/b c"))
	wantRefused(t, url, "530")
	do(t, "permit", n.SetPermissions(ctx, "guest", "a/b c", chaos.AllPermissions))
	s := session(t, url)
	declare(t, s, "there", 1)
	if in, err := n.Inventory(ctx); in.Queues["a/b c/there"] != 1 || err != nil {
		t.Errorf("got %+v (%v), want a message in the queue of that virtual host", in, err)
	}
	do(t, "delete", n.DeleteVhost(ctx, "a/b c"))
	wantEnd(t, s, "320")
	wantRefused(t, url, "530")
}

func testUsers(t *testing.T, n *chaos.Node) {
	ctx := t.Context()
	url := func(password string) string { return n.URLFor("ann", password, "/") }
	wantRefused(t, url("old"), "403")
	do(t, "add", n.AddUser(ctx, "ann", "old"))
	wantRefused(t, url("old"), "530")
	do(t, "permit", n.SetPermissions(ctx, "ann", "/", chaos.AllPermissions))
	s := session(t, url("old"))
	do(t, "change password", n.ChangePassword(ctx, "ann", "p@ss/word"))
	declare(t, s, "hers", 1) // she stays
	wantRefused(t, url("old"), "403")
	session(t, url("p@ss/word"))

	do(t, "restrict", n.SetPermissions(ctx, "ann", "/", chaos.Permissions{Read: "^hers$"}))
	s = session(t, url("p@ss/word"))
	if _, err := s.DeclareQueue(ctx, conn.Queue{Name: "more"}); !errors.Is(err, conn.ErrRefused) {
		t.Errorf("declare: got %v, want refused", err)
	}
	s = session(t, url("p@ss/word"))
	do(t, "take away", n.ClearPermissions(ctx, "ann", "/"))
	wantRefused(t, url("p@ss/word"), "530")
	do(t, "delete", n.DeleteUser(ctx, "ann"))
	wantEnd(t, s, "320")
	wantRefused(t, url("p@ss/word"), "403")
	do(t, "delete", n.DeleteQueue(ctx, "hers"))
}

func testLimits(t *testing.T, n *chaos.Node) {
	ctx := t.Context()
	do(t, "limit", n.LimitConnections(ctx, "guest", 0))
	wantRefused(t, n.URL(), "530")
	do(t, "unlimit", n.LimitConnections(ctx, "guest", -1))
	s := session(t, n.URL())
	do(t, "limit", n.LimitChannels(ctx, "guest", 0))
	if _, err := s.OpenPublisher(ctx, nil); err == nil {
		t.Error("opened a channel too many")
	}
	wantEnd(t, s, "530")
	do(t, "unlimit", n.LimitChannels(ctx, "guest", -1))
	if _, err := session(t, n.URL()).OpenPublisher(ctx, nil); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

func testAlarms(t *testing.T, n *chaos.Node) {
	for _, a := range []chaos.Alarm{chaos.MemoryAlarm, chaos.DiskAlarm} {
		s := session(t, n.URL())
		do(t, "raise", n.Raise(t.Context(), a))
		p, err := s.OpenPublisher(t.Context(), nil)
		do(t, "open publisher", err)
		do(t, "publish", p.Publish(&conn.Message{Key: "nowhere"}, nil))
		eventually(t, "the session is not blocked", func() bool { return s.Blocked() != nil })
		do(t, "clear", n.Clear(t.Context(), a))
		eventually(t, "the session is still blocked", func() bool { return s.Blocked() == nil })
		if err := s.Err(); err != nil {
			t.Errorf("%s: the session ended with %v", a, err)
		}
	}
}

func testConsumerTimeout(t *testing.T, n *chaos.Node) {
	do(t, "set", n.ConsumerTimeout(t.Context(), 100*time.Millisecond))
	s := session(t, n.URL())
	declare(t, s, "slow", 1)
	if _, err := s.Consume(t.Context(), conn.Consume{Queue: "slow", Prefetch: 1}, func(*conn.Delivery) {}); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, s, "406")
	do(t, "set", n.ConsumerTimeout(t.Context(), 30*time.Minute))
	do(t, "delete", n.DeleteQueue(t.Context(), "slow"))
}

func testCloseConnections(t *testing.T, n *chaos.Node) {
	s := session(t, n.URL())
	do(t, "close", n.CloseConnections(t.Context()))
	wantEnd(t, s, "320")
	session(t, n.URL())
}

func testMaintenance(t *testing.T, n *chaos.Node) {
	s := session(t, n.URL())
	do(t, "drain", n.Drain(t.Context()))
	wantEnd(t, s, "320")
	wantRefused(t, n.URL(), "refused")
	do(t, "revive", n.Revive(t.Context()))
	session(t, n.URL())
}

func testApp(t *testing.T, n *chaos.Node) {
	s := session(t, n.URL())
	do(t, "stop", n.StopApp(t.Context()))
	wantEnd(t, s, "320")
	wantRefused(t, n.URL(), "refused")
	do(t, "start", n.StartApp(t.Context()))
	session(t, n.URL())
}

func testOperationsDown(t *testing.T, n *chaos.Node) {
	do(t, "kill", n.Kill())
	if err := n.Drain(t.Context()); err == nil {
		t.Error("drained a node that is down")
	}
	if _, err := n.Inventory(t.Context()); err == nil {
		t.Error("took the inventory of a node that is down")
	}
}
