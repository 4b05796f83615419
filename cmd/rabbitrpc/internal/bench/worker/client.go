package worker

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/load"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/rawloop"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const method = "echo"

// A clientWorker makes the calls.
type clientWorker struct {
	worker
	session context.Context // ends with the connection
	call    load.Call
	prof    *profile
	ended   atomic.Pointer[held] // the first of the calls that were to be held; nil if there is none
}

// Connected is what a client takes before its first call.
type Connected struct{ Before, Idle Memory }

// settleFor lets what set up the client and its first call come to its end.
const settleFor = 100 * time.Millisecond

// Connect makes the client, and one call.
func (w *clientWorker) Connect(s Setup, c *Connected) (err error) {
	c.Before = ownMemory()
	if s.Side.Kind == Own {
		w.call, err = w.dial(&s)
	} else {
		w.call, err = w.dialRaw(&s)
	}
	if err != nil {
		return err
	}
	if !s.Hold { // or the call would not end
		ctx, cancel := context.WithTimeout(w.session, callTimeout)
		defer cancel()
		if err := w.call(ctx); err != nil {
			return fmt.Errorf("first call: %w", err)
		}
	}
	time.Sleep(settleFor)
	c.Idle = ownMemory()
	w.prof, err = startProfile(s.Profile)
	return err
}

func (w *clientWorker) dial(s *Setup) (load.Call, error) {
	m, err := conn.Open(w.ctx, w.url, conn.WithName("rabbitrpc bench client"), conn.WithLogger(w.log))
	if err != nil {
		return nil, err
	}
	w.session = w.sessionOf(m)
	opts := []client.Option{client.WithTimeout(s.timeout()), client.WithMaxInFlight(s.Cell.Callers)}
	switch s.Cell.Mode {
	case Durable:
		opts = append(opts, client.Durable())
	case Plain:
		opts = append(opts, client.WithQueue(s.Queue))
	}
	c, err := client.New(m, opts...)
	if err != nil {
		return nil, err
	}
	if t := s.Target; t != nil {
		return func(ctx context.Context) error {
			_, err := c.Do(ctx, &rpc.Request{
				Service: t.Service, Method: t.Method, ContentType: rpc.ContentTypeJSON, Body: t.Body,
			})
			return err
		}, nil
	}
	body := make([]byte, s.Cell.Size)
	echo := rpc.Method[[]byte, []byte]{Service: s.Queue, Name: method, ContentType: rpc.ContentTypeBytes}
	return func(ctx context.Context) error {
		reply, err := client.Call(ctx, c, echo, body)
		return checkEcho(body, reply, err)
	}, nil
}

func (w *clientWorker) dialRaw(s *Setup) (load.Call, error) {
	c, err := rawloop.Dial(w.url, s.Queue, s.Side.Kind == RawSafe)
	if err != nil {
		return nil, err
	}
	w.session = until(w.ctx, c.Lost())
	body := make([]byte, s.Cell.Size)
	return func(ctx context.Context) error {
		reply, err := c.Call(ctx, body)
		return checkEcho(body, reply, err)
	}, nil
}

// checkEcho takes a wrong reply for an error.
func checkEcho(body, reply []byte, err error) error {
	if err == nil && !bytes.Equal(body, reply) {
		return fmt.Errorf("the reply has %d bytes, not the %d of the request, or others", len(reply), len(body))
	}
	return err
}

// Loaded is what a load came to, and what it cost the client.
type Loaded struct {
	Result load.Result
	Used   Usage
}

// Load makes the calls of a load, or returns [ErrLost]. A call that is lost has no time limit of its own in the raw loop.
func (w *clientWorker) Load(l load.Load, out *Loaded) error {
	ctx, cancel := context.WithTimeout(w.session, 2*l.Duration+callTimeout)
	defer cancel()
	before := ownUsage()
	r := l.Run(ctx, w.call)
	if err := context.Cause(w.session); err != nil {
		return err
	}
	*out = Loaded{*r, ownUsage().Since(before)}
	return out.Result.Pack()
}

// Finish writes what was asked for besides.
func (w *clientWorker) Finish(Nothing, *Nothing) error { return w.prof.stop() }

// Hold makes n calls at once, which nobody is to answer.
func (w *clientWorker) Hold(n int, _ *Nothing) error {
	for range n {
		go func() { // until the process ends
			if err := w.call(w.ctx); w.ctx.Err() == nil {
				w.ended.CompareAndSwap(nil, &held{err})
			}
		}()
	}
	return nil
}

// A held is how a call ended that should not have.
type held struct{ err error }

// Memory tells what the process holds, and fails if a call that is to be held was not.
func (w *clientWorker) Memory(_ Nothing, m *Memory) error {
	*m = ownMemory()
	if h := w.ended.Load(); h != nil {
		return fmt.Errorf("a call ended that was to be held: %v", h.err)
	}
	return nil
}
