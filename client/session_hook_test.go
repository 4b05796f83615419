package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A hook that is told of a session may use the client, and close it.
func TestSessionHookUsesClient(t *testing.T) {
	for name, use := range map[string]func(context.Context, *client.Client) error{
		"call": func(ctx context.Context, c *client.Client) error {
			if _, err := client.Call(ctx, c, double, 1); rpc.CodeOf(err) != rpc.Unavailable { // nobody serves
				return err
			}
			return nil
		},
		"close": func(ctx context.Context, c *client.Client) error { return c.Close(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			b := conntest.NewBroker()
			defer b.Close()
			used := make(chan error, 1)
			var c *client.Client
			c, err := client.New(b.Connector("client"), client.WithoutBreaker(), client.WithHooks(client.Hooks{Session: func(error) {
				used <- use(t.Context(), c)
			}}))
			if err != nil {
				t.Fatal(err)
			}
			go client.Call(t.Context(), c, double, 1)
			select {
			case err := <-used:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("a hook that uses the client never returns")
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A hook is told of each session once, however often its reply queue cannot be set up, and in any case why the one before ended.
func TestSessionHookOncePerSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails error
		var told []error
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, consume: func(conn.Consume) error { return fails }}
		}, client.WithoutBreaker(), client.WithHooks(client.Hooks{Session: func(err error) { told = append(told, err) }}))
		r.serve(r.broker.Connector("server"), twice, server.WithoutDiscovery())
		r.mustCall(1)
		r.conn.Lose()
		fails = errors.New("no")
		for range 3 {
			r.call(t.Context(), 1, client.FailFast())
		}
		fails = nil
		r.mustCall(2)
		if len(told) != 2 || told[0] != nil || told[1] == nil {
			t.Errorf("told of sessions after %v, want nil and one error", told)
		}
	})
}
