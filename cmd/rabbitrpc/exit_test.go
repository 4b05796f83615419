package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func remote(code rpc.Code, message string) *rpc.Error {
	e := rpc.Errorf(code, "%s", message)
	e.Remote = true
	return e
}

func TestExitCode(t *testing.T) {
	local := func(code rpc.Code, cause error) error { return rpc.Errorf(code, "%w", cause) }
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"success", nil, 0},
		{"usage", usagef(newRoot(), "no"), 1},
		{"any other", errors.New("no"), 1},
		{"request that cannot be sent", local(rpc.InvalidArgument, conn.ErrInvalid), 1},
		{"no connection", local(rpc.Unavailable, fmt.Errorf("%w: refused", conn.ErrNotConnected)), 2},
		{"connection lost on the way", fmt.Errorf("ask instances: %w", conn.ErrClosed), 2},
		{"connection lost for want of a right", fmt.Errorf("ask instances: %w: %w", conn.ErrClosed, &conn.Error{Code: 403}), 1},
		{"no server", local(rpc.Unavailable, client.ErrNoServer), 3},
		{"no answer in time", local(rpc.DeadlineExceeded, errors.New("no reply in time")), 4},
		{"no answer of the broker in time", fmt.Errorf("declare queue q: %w", context.DeadlineExceeded), 4},
		{"all servers busy", local(rpc.Unavailable, errors.New("busy")), 5},
		{"broker in an alarm", fmt.Errorf("ask instances: %w", conn.ErrBlocked), 5},
		{"parked: denied", &parked.DeniedError{Need: "read q", Err: &conn.Error{Code: 403}}, 1},
		{"parked: busy", parked.ErrBusy, 1},
		{"parked: nobody takes it", fmt.Errorf("call 1 stays parked: %w takes it", client.ErrNoServer), 3},
		{"parked: connection lost, in doubt", fmt.Errorf("%w: %w", conn.ErrNotConnected, parked.ErrInDoubt), 2},
		{"canceled", local(rpc.Canceled, errors.New("canceled by the caller")), 130},
		{"interrupted", errInterrupted, 130},
		{"canceled at the server", remote(rpc.Canceled, ""), 65},
		{"unknown at the server", remote(rpc.Unknown, ""), 66},
		{"deadline at the server", remote(rpc.DeadlineExceeded, ""), 68},
		{"unavailable at the server", remote(rpc.Unavailable, ""), 78},
		{"unauthenticated", remote(rpc.Unauthenticated, ""), 80},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{
			"all that a server can say",
			remote(rpc.ResourceExhausted, "too many").WithExecuted(rpc.ExecutedNo).WithRetryAfter(1500 * time.Millisecond).
				WithDetails(map[string]int{"limit": 3}),
			"rabbitrpc: resource_exhausted: too many (executed: no)\ndetails: {\"limit\":3}\nretry after: 1.5s\n" +
				"hint: the same call may succeed a little later\n",
		},
		{
			"a hostile message",
			remote(rpc.Internal, "boom\x1b[2J\nrabbitrpc: all is well\x9b").WithExecuted(rpc.ExecutedYes),
			"rabbitrpc: internal: boom\\u001b[2J; rabbitrpc: all is well\\x9b (executed: yes)\n",
		},
		{
			"in doubt",
			rpc.Errorf(rpc.Unavailable, "gone"),
			"rabbitrpc: unavailable: gone (executed: unknown)\n" +
				"hint: the call may have taken effect: find out before you repeat it\n",
		},
		{
			"in doubt, and nobody is there now",
			rpc.Errorf(rpc.Unavailable, "%w on queue q", client.ErrNoServer),
			"rabbitrpc: unavailable: no server on queue q (executed: unknown)\n" +
				"hint: the call may have taken effect: find out before you repeat it\n",
		},
		{
			"the broker has not answered yet",
			rpc.Errorf(rpc.Unavailable, "%w: %w", conn.ErrNotConnected, errNoDialEnded).WithExecuted(rpc.ExecutedNo),
			"rabbitrpc: unavailable: no connection with the broker: the broker did not answer before the timeout (executed: no)\n" +
				"hint: RabbitMQ takes three seconds to refuse a wrong password: try a longer --timeout, then check host and port\n",
		},
		{
			"the user has stopped it",
			rpc.Errorf(rpc.Canceled, "%w: refused", conn.ErrNotConnected).WithExecuted(rpc.ExecutedNo),
			"rabbitrpc: canceled: no connection with the broker: refused (executed: no)\n",
		},
		{
			"the broker is frozen",
			fmt.Errorf("declare queue q: %w", context.DeadlineExceeded),
			"rabbitrpc: declare queue q: context deadline exceeded\n" +
				"hint: the broker did not answer in time: rabbitrpc doctor shows how far it gets\n",
		},
		{
			"a right is missing",
			fmt.Errorf("consume: %w", &parked.DeniedError{Need: "read q", Err: &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}}),
			"rabbitrpc: consume: ACCESS_REFUSED (403)\nhint: the user of --url or RABBITMQ_URL needs the right to read q\n",
		},
		{
			"a request may be in two places",
			fmt.Errorf("call 1: %w: %w", conn.ErrNotConnected, parked.ErrInDoubt),
			"rabbitrpc: call 1: no connection with the broker: the broker has not confirmed it\n" +
				"hint: it may be parked still. Requeued again it has the same call ID, and does not run twice where servers remember calls\n",
		},
		{
			"a password in the wrong place",
			usagef(newRoot(), "unknown command %q", `amqp://me:se"c@ret@host`),
			"rabbitrpc: unknown command \"amqp://***@host\"\nhint: see rabbitrpc --help\n",
		},
	} {
		var out strings.Builder
		report(&out, tt.err)
		if out.String() != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, out.String(), tt.want)
		}
	}
}
