package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	registers   = 16               // few, so that calls meet
	maxAmount   = 150              // more than some accounts come to have
	longTimeout = 30 * time.Second // outlasts a restart of the broker
	callersName = "callers"
	remembered  = 16 // calls that a caller may ask again
)

// A load is the callers: they move money, read, and set registers, ask again, and do what they must not.
type load struct {
	service  string
	thinking time.Duration // of a caller between two calls, on average
	timeout  time.Duration // of calls that are in no hurry
	patient  bool          // all calls wait for servers, and nobody misuses an ID
	once     bool          // the servers' memory survives them: it must know an ID that is misused
	history  *history.Writer

	mortal bool // this process may be killed: a call is recorded before it is made

	name         string
	mine, others *client.Client // two tenants
	attempts     sync.Map       // ID of a call in flight -> *atomic.Int64
	inFlight     atomic.Int64
	calls        tally
}

// A tally counts calls by outcome.
type tally struct{ OK, Rejected, Failed, Ambiguous atomic.Int64 }

func newLoad(m *conn.Manager, name string, l *load) (*load, error) {
	l.name = name
	hooks := client.Hooks{AttemptEnded: func(_ context.Context, e client.AttemptEnded) {
		if n, ok := l.attempts.Load(e.Request.ID); ok {
			n.(*atomic.Int64).Add(1)
		}
	}}
	var err error
	if l.mine, err = client.New(m, client.WithName(name), client.WithHooks(hooks)); err != nil {
		return nil, err
	}
	l.others, err = client.New(m, client.WithName(name+"-too"), client.WithHooks(hooks))
	return l, err
}

func (l *load) close(ctx context.Context) {
	_ = l.mine.Close(ctx) // all calls have ended
	_ = l.others.Close(ctx)
}

// A caller makes one call after the other.
type caller struct {
	*load
	name   string
	random *rand.Rand
	n      int
	past   []asked // the last few that other calls may refer to
}

// asked is a call as it was asked.
type asked struct {
	op, id, tag string
	input       any
	timeout     time.Duration
	opts        []client.CallOption
	ok          bool // how it ended
	taken       bool // its ID has another call of the other tenant
}

// run makes calls until the load is over, and waits for the last one, unless ctx ends.
func (c *caller) run(ctx, load context.Context) {
	for load.Err() == nil {
		c.n++
		c.next(ctx)
		wait(load, rand.N(2*c.thinking+1))
	}
}

// next makes one call, of a kind that chance decides.
func (c *caller) next(ctx context.Context) {
	k := c.random.IntN(100)
	if k >= 12 || len(c.past) == 0 {
		a := c.fresh()
		rec := c.ask(ctx, history.Usual, a)
		a.ok = rec.Outcome == history.OK
		c.remember(a, rec.Outcome)
		return
	}
	i := c.random.IntN(len(c.past))
	a := c.past[i]
	switch {
	case k < 8:
		c.ask(ctx, history.Again, a)
	case k < 10 && c.once && a.ok && a.op == "transfer":
		a.tag = c.tag()
		a.input = c.move(a.tag)
		c.ask(ctx, history.Misuse, a)
	case !a.taken:
		c.past[i].taken = true
		a.tag = c.tag()
		a.op, a.input = "transfer", c.move(a.tag)
		c.ask(ctx, history.Other, a)
	}
}

// remember keeps a call to ask for again: one that had an effect, or may have.
func (c *caller) remember(a asked, out history.Outcome) {
	if out == history.Rejected || a.op == "accounts" {
		return
	}
	if len(c.past) == remembered {
		c.past = slices.Delete(c.past, 0, 1)
	}
	c.past = append(c.past, a)
}

func (c *caller) tag() string { return fmt.Sprintf("%s.%d", c.name, c.n) }

func (c *caller) move(tag string) bank.Move {
	from := c.random.IntN(accounts)
	to := (from + 1 + c.random.IntN(accounts-1)) % accounts
	return bank.Move{Tag: tag, From: from, To: to, Amount: 1 + c.random.Int64N(maxAmount)}
}

// fresh is a new call.
func (c *caller) fresh() asked {
	tag := c.tag()
	a := asked{op: "transfer", id: fmt.Sprintf("%s-%08x", tag, c.random.Uint32()), tag: tag}
	a.timeout, a.opts = c.manner()
	key := c.random.IntN(registers)
	value := func() string { return strconv.Itoa(c.random.IntN(5)) }
	switch k := c.random.IntN(100); {
	case k < 64:
		a.input = c.move(tag)
	case k < 74:
		a.op, a.tag, a.input = "accounts", "", bank.Nothing{}
	case k < 84:
		a.op, a.input = "get", bank.Value{Tag: tag, Key: key}
	case k < 92:
		a.op, a.input = "put", bank.Value{Tag: tag, Key: key, Value: value()}
	default:
		a.op, a.input = "cas", bank.Swap{Tag: tag, Key: key, Old: value(), New: value()}
	}
	return a
}

// manner is how a call is made: most wait for servers, some are in a hurry, or ask for more.
func (c *caller) manner() (time.Duration, []client.CallOption) {
	timeout, k := c.timeout, c.random.IntN(100)
	switch {
	case c.patient || k < 60:
		return timeout, []client.CallOption{client.WaitForServer()}
	case k < 70:
		return timeout, []client.CallOption{client.WaitForServer(), client.Durable()}
	case k < 80:
		return time.Duration(50+c.random.IntN(1500)) * time.Millisecond, nil
	case k < 85:
		return timeout, []client.CallOption{client.AtMostOnce()}
	}
	return timeout, nil
}

// ask makes a call and records it.
func (c *caller) ask(ctx context.Context, kind history.Kind, a asked) history.Call {
	body, err := json.Marshal(a.input)
	if err != nil {
		panic(err) // of types of ours
	}
	from, name := c.mine, c.load.name
	if kind == history.Other {
		from, name = c.others, name+"-too"
	}
	rec := history.Call{ID: a.id, Client: name, Process: c.name, Kind: kind, Op: a.op, Input: body, Tag: a.tag}
	attempts := new(atomic.Int64)
	c.attempts.Store(a.id, attempts)
	defer c.attempts.Delete(a.id)
	c.inFlight.Add(1)
	defer c.inFlight.Add(-1)

	opts := append([]client.CallOption{client.WithCallID(a.id), client.WithTimeout(a.timeout)}, a.opts...)
	rec.Invoked = c.history.Since()
	rec.Deadline = rec.Invoked + a.timeout
	if c.mortal {
		rec.Outcome = history.Lost
		c.history.Call(rec)
	}
	reply, err := from.Do(client.With(ctx, opts...), &rpc.Request{Service: c.service, Method: a.op, Body: body})
	rec.Returned = c.history.Since()
	rec.Attempts = int(attempts.Load())
	conclude(&rec, reply, err)
	c.count(rec.Outcome)
	c.history.Call(rec)
	return rec
}

// conclude says how a call has ended.
func conclude(rec *history.Call, reply *rpc.Reply, err error) {
	if err == nil {
		rec.Outcome, rec.Output, rec.Replayed, rec.Server = history.OK, reply.Body, reply.Replayed, reply.Server
		if !json.Valid(reply.Body) {
			rec.Output, _ = json.Marshal(string(reply.Body)) // a string always has a form
		}
		return
	}
	rec.Code, rec.Error = rpc.CodeOf(err).String(), err.Error()
	switch rpc.Executed(err) {
	case rpc.ExecutedNo:
		rec.Outcome = history.Rejected
	case rpc.ExecutedYes:
		rec.Outcome = history.Failed
	default:
		rec.Outcome = history.Ambiguous
	}
}

// pending returns the IDs of calls in flight, in order.
func (l *load) pending() (ids []string) {
	for id := range l.attempts.Range {
		ids = append(ids, id.(string))
	}
	slices.Sort(ids)
	return ids
}

func (l *load) count(o history.Outcome) {
	switch o {
	case history.OK:
		l.calls.OK.Add(1)
	case history.Rejected:
		l.calls.Rejected.Add(1)
	case history.Failed:
		l.calls.Failed.Add(1)
	default:
		l.calls.Ambiguous.Add(1)
	}
}
