package status_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/status"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

var quiet = slog.New(slog.DiscardHandler)

// A process serves the service math, whose method wait takes as many seconds as it is told, and calls it.
type process struct {
	board   *status.Board
	broker  *conntest.Broker
	server  *server.Server
	client  *client.Client
	servers []*server.Server // as the board sees them
	stop    context.CancelFunc
	done    chan struct{}
}

func start(t *testing.T) *process {
	t.Helper()
	p := &process{board: status.New("rabbitrpc serve", "v1"), broker: conntest.NewBroker(), done: make(chan struct{})}
	p.board.Serve(func() []*server.Server { return p.servers })
	var err error
	p.server, err = server.New(p.broker.Connector("server"), "math", server.WithLogger(quiet), server.WithHooks(p.board.ServerHooks()))
	if err != nil {
		t.Fatal(err)
	}
	server.Handle(p.server, rpc.Method[int, int]{Service: "math", Name: "wait"}, func(ctx context.Context, seconds int) (int, error) {
		if seconds < 0 {
			return 0, rpc.Errorf(rpc.InvalidArgument, "seconds must be 0 or more, got %d", seconds)
		}
		time.Sleep(time.Duration(seconds) * time.Second)
		return seconds, nil
	})
	p.client, err = client.New(p.broker.Connector("client"), client.WithHooks(p.board.ClientHooks()))
	if err != nil {
		t.Fatal(err)
	}
	p.board.Watch(p.client)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { defer close(p.done); p.server.Run(ctx) }()
	<-p.server.Ready()
	t.Cleanup(func() {
		stop()
		<-p.done
		p.client.Close(context.Background())
		p.broker.Close()
	})
	return p
}

func (p *process) call(method, body string, opts ...client.CallOption) error {
	_, err := p.client.Do(client.With(context.Background(), opts...), &rpc.Request{Service: "math", Method: method, Body: []byte(body)})
	return err
}

// checks are those that a probe sees, in short.
func checks(b *status.Board) string {
	synctest.Wait()
	var all []string
	for _, c := range b.Checks() {
		verdict := "failed"
		if c.OK {
			verdict = "ok"
		}
		all = append(all, c.Name+" "+verdict+" "+c.Text)
	}
	if status.Ready(b.Checks()) != b.Status().Ready {
		all = append(all, "and the status says otherwise")
	}
	return strings.Join(all, ", ")
}

// TestChecks: a process is ready while all that it serves takes calls, and not a moment longer.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		want := func(text string) {
			t.Helper()
			if got := checks(p.board); got != text {
				t.Errorf("got %s, want %s", got, text)
			}
		}
		want("services failed being set up")
		p.servers = []*server.Server{p.server}
		want("service math ok serving")
		p.broker.Stop()
		want("service math failed waiting: CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' (320)")
		p.broker.Start()
		want("service math ok serving")
		p.server.Pause()
		want("service math failed paused")
		p.server.Resume()
		want("service math ok serving")
		time.Sleep(3 * time.Second)
		if got := p.board.Checks()[0].For; got != 3 {
			t.Errorf("it has been so for %v s, want 3", got)
		}
		called := make(chan error, 1)
		go func() { called <- p.call("wait", "5") }()
		synctest.Wait()
		p.stop()
		want("service math failed draining")
		if err := <-called; err != nil {
			t.Errorf("call during the drain: %v", err)
		}
		<-p.done
		want("service math failed stopped")
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		p.servers = []*server.Server{p.server}
		time.Sleep(time.Minute) // so that rates are those of a whole one
		id := client.WithCallID("the-same")
		for _, body := range []string{"2", "2"} {
			if err := p.call("wait", body, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(p.call("wait", "4"), p.call("wait", "-1"), p.call("nothing", "1")); err == nil {
			t.Fatal("no error of what is wrong")
		}
		s := p.board.Status()
		if len(s.Services) != 1 || len(s.Called) != 1 || len(s.Errors) != 4 {
			t.Fatalf("got %+v", s)
		}
		v := s.Services[0]
		if v.Name != "math" || v.State != "serving" || v.Limit != 16 || v.Answered != 3 || v.Replayed != 1 || v.Rejected != 1 || v.Store == nil {
			t.Errorf("got %+v", v)
		}
		near(t, "rate", v.Rate, 5.0/60)
		near(t, "errors", v.Errors, 2.0/60)
		near(t, "p99", v.P99, 4)
		if len(v.Methods) != 2 || v.Methods[0].Name != "_other" || v.Methods[1].Name != "wait" {
			t.Errorf("methods %+v", v.Methods)
		}
		near(t, "p50 of wait", v.Methods[1].P50, 2)
		if c := s.Called[0]; c.Name != "math" || c.Presence != "present" || c.Breaker != "closed" || c.P99 < 3.5 {
			t.Errorf("called %+v", c)
		}
		for i, want := range []string{
			"called math.nothing unimplemented", "answered math._other unimplemented",
			"called math.wait invalid_argument", "answered math.wait invalid_argument",
		} {
			if e := s.Errors[i]; e.Side+" "+e.Where+" "+e.Code != want || e.Count != 1 || e.Call == "" {
				t.Errorf("error %+v, want %s", e, want)
			}
		}
		if got := s.Process; got.Version != "v1" || got.PID == 0 || got.Goroutines == 0 || got.Uptime < 60 {
			t.Errorf("process %+v", got)
		}
		text, err := json.Marshal(s)
		if err != nil || strings.Contains(string(text), "null") {
			t.Errorf("what the page would trip over: %s, %v", text, err)
		}
	})
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got < want*7/8 || got > want*9/8 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// A service whose workers are all held by requests that are overdue takes no more.
func TestAllWorkersHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		p.servers = []*server.Server{p.server}
		var calls sync.WaitGroup
		for range 16 {
			calls.Go(func() { p.call("wait", "60", client.WithTimeout(time.Second)) })
		}
		for _, want := range []string{
			"service math ok serving", "service math failed serving, but requests that are overdue hold all workers", "service math ok serving",
		} {
			if got := checks(p.board); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			time.Sleep(30 * time.Second)
		}
		calls.Wait()
	})
}
