package server_test

import (
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// The queue is declared with its bound, of which a request that finds it full learns.
func TestMaxQueue(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []server.Option
		back string // the request that comes back
	}{
		{"classic queue, the new one", nil, "3"},
		{"quorum queue, the oldest", []server.Option{server.WithQuorumQueue(5)}, "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var runs counter
				r.start(r.conn, slow(time.Second, &runs), append(tt.opts, server.WithWorkers(1), server.WithMaxQueue(1))...)
				for _, body := range []string{"1", "2", "3"} {
					r.send(r.request(body))
				}
				got := r.reply()
				if string(got.Body) != tt.back || got.Headers["x-first-death-reason"] != "maxlen" {
					t.Errorf("got %+v, want request %s back", got, tt.back)
				}
				time.Sleep(2 * time.Second)
				if got := r.replies(); len(got) != 2 || runs.ran() != 2 {
					t.Errorf("%d replies and %d runs, want 2 and 2", len(got), runs.ran())
				}
			})
		})
	}
}

// A plain queue is as it is.
func TestMaxQueueOfPlain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs), server.WithWorkers(1), server.WithMaxQueue(1), server.WithQueue("rpc_queue", "double"))
		for range 5 {
			r.send(r.plain("1"))
		}
		time.Sleep(5 * time.Second)
		if got := summary(r.replies()); got != "[2 2 2 2 2]" {
			t.Errorf("got %v", got)
		}
	})
}

func TestProtectionOptions(t *testing.T) {
	c := conntest.NewBroker().Connector("server")
	for _, tt := range []struct {
		opt  server.Option
		want string
	}{
		{server.WithTenantLimit(-1), "tenant limit must be 1 to 10000, got -1"},
		{server.WithTenantLimit(10_001), "tenant limit must be 1 to 10000, got 10001"},
		{server.WithAdaptiveLimit(-1), "least adaptive limit must be 1 to 16, the workers, got -1"},
		{server.WithAdaptiveLimit(17), "least adaptive limit must be 1 to 16, the workers, got 17"},
		{server.WithMaxQueue(-1), "queue must have room for 1 request or more, got -1"},
		{server.WithAdaptiveLimit(16), ""},
	} {
		_, err := server.New(c, "math", tt.opt)
		if got := errorText(err); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
