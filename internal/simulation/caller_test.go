package simulation

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A caller is a client process, which can be restarted under the same name.
type caller struct {
	w *world
	i int

	mu   sync.Mutex // guards what follows
	conn *conntest.Connector
	c    *client.Client
	dead *client.Client // the one that was stopped last

	retries atomic.Int64
	calls   atomic.Int64
}

// An outcome is how an ask ended.
type outcome struct {
	*ask
	start, end time.Time
	receipt    receipt
	err        error
	killed     bool // its client was, before the end
}

func (o *outcome) ok() bool { return o.err == nil }

func (c *caller) start() {
	t := tenants[c.i]
	name := "client " + string(rune('0'+c.i))
	var opts []client.Option
	connOpts := []conntest.Option(nil)
	if t.user != "" {
		connOpts = append(connOpts, conntest.WithUser(t.user))
		opts = append(opts, client.WithUser(t.user))
	}
	conn := c.w.broker.Connector(name, connOpts...)
	opts = append(opts, client.WithName(t.name), client.WithMaxBody(clientBody), client.WithMaxInFlight(c.w.plan.inFlight), client.WithHooks(client.Hooks{
		AttemptEnded: func(_ context.Context, e client.AttemptEnded) {
			if c.w.healed.Load() {
				return
			}
			if e.Ending == "nacked" || e.Ending == "full" || e.Ending == "failed" && refused(e.Err) {
				c.retries.Add(1) // or the last no
			}
		},
		CallEnded: func(_ context.Context, e client.CallEnded) { c.ended(e) },
	}))
	made, err := client.New(c.w.watch(conn), opts...)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.c = conn, made
}

// ended counts what is known of a call that has ended.
func (c *caller) ended(e client.CallEnded) {
	if c.w.healed.Load() {
		return
	}
	c.calls.Add(1)
	if refused(e.Err) {
		c.retries.Add(-1) // the last no was not followed by a retry
	}
}

// refused reports whether a call ended with the no of its last attempt.
func refused(err error) bool {
	return err != nil && rpc.CodeOf(err).Retryable()
}

func (c *caller) connector() *conntest.Connector {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

func (c *caller) get() (now, dead *client.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c, c.dead
}

// stop ends the present life: as a process that is killed, whose calls end for nobody.
func (c *caller) stop() {
	c.mu.Lock()
	old := c.c
	c.dead = old // before its calls end
	c.mu.Unlock()
	c.connector().Close(over)
	if err := old.Close(context.Background()); err != nil {
		c.w.violate("I10: close client: %v", err)
	}
	s := old.Stats()
	c.w.count("requests sent again", s.Resent)
	c.w.count("requests bounced", s.Bounced)
	c.w.count("late replies", s.Late)
}

func (c *caller) restart() {
	c.stop()
	c.start()
}

// call makes the call of an ask.
func (c *caller) call(a *ask) *outcome {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	if a.cancel > 0 {
		t := time.AfterFunc(a.cancel, cancel)
		defer t.Stop()
	}
	opts := []client.CallOption{client.WithCallID(a.id), client.WithTimeout(a.timeout), client.WithHeader(askHeader, strconv.Itoa(a.seq))}
	for _, o := range []struct {
		set    bool
		option client.CallOption
	}{
		{a.once, client.AtMostOnce()}, {a.durable, client.Durable()}, {a.failFast, client.FailFast()}, {a.wait, client.WaitForServer()},
		{a.noRetry, client.WithoutRetry()},
	} {
		if o.set {
			opts = append(opts, o.option)
		}
	}
	now, _ := c.get()
	o := &outcome{ask: a, start: time.Now()}
	o.receipt, o.err = client.Call(ctx, now, a.method(), a.payment, opts...)
	o.end = time.Now()
	next, dead := c.get()
	o.killed = next != now || dead == now
	return o
}
