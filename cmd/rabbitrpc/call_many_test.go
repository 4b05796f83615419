package main

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestManyCallsWaitForTheBreaker: some calls are left for a server that comes a second later, and the user is told why they wait.
func TestManyCallsWaitForTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := conntest.NewBroker()
		defer broker.Close()
		c, err := client.New(broker.Connector("client"))
		must(t, err)
		defer c.Close(context.Background())
		s, err := server.New(broker.Connector("server"), "late", server.WithLogger(slog.New(slog.DiscardHandler)))
		must(t, err)
		s.Handle("x", func(context.Context, *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{}, nil })
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		time.AfterFunc(1050*time.Millisecond, func() { served <- s.Run(ctx) })

		var out, complaints strings.Builder
		f := callFlags{count: 100, concurrency: 1}
		if err := f.many(t.Context(), &out, &complaints, c, &rpc.Request{Service: "late", Method: "x"}); exitCode(err) != exitNoServer {
			t.Errorf("got %v, want the first error", err)
		}
		if !regexp.MustCompile(`^calls 100, ok [67]\d, failed`).MatchString(out.String()) {
			t.Errorf("want about 70 calls left for the server, got %s", out.String())
		}
		for _, want := range []string{"\n20 times unavailable, executed no: no server on queue", " times unavailable, executed no: breaker is open"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("not shown: %s\n%s", want, out.String())
			}
		}
		if got := complaints.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "no call gets through, trying on: ") {
			t.Errorf("said %q, want one line", got)
		}
		stop()
		must(t, <-served)
	})
}
