package bench

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/load"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/rawloop"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const method = "echo"

// callTimeout is for a call of ours; the raw loop has none.
const callTimeout = 30 * time.Second

// A clientWorker makes the calls.
type clientWorker struct {
	*worker
	call load.Call
	prof *profile
}

// Connected is what a client takes before its first call.
type Connected struct{ Before, Idle Memory }

// Connect makes the client, and one call.
func (w *clientWorker) Connect(s Setup, c *Connected) (err error) {
	c.Before = ownMemory()
	if s.Side.Kind == kindOwn {
		w.call, err = w.dial(&s)
	} else {
		w.call, err = w.dialRaw(&s)
	}
	if err != nil {
		return err
	}
	if !s.Hold { // or the call would not end
		if err := w.call(w.ctx); err != nil {
			return fmt.Errorf("first call: %w", err)
		}
	}
	c.Idle = ownMemory()
	w.prof, err = startProfile(s.Profile)
	return err
}

func (w *clientWorker) dial(s *Setup) (load.Call, error) {
	m, err := conn.Open(w.ctx, w.url, conn.WithName("rabbitrpc bench client"), conn.WithLogger(w.log))
	if err != nil {
		return nil, err
	}
	opts := []client.Option{client.WithTimeout(callTimeout), client.WithMaxInFlight(s.room())}
	switch s.Cell.Mode {
	case ModeDurable:
		opts = append(opts, client.Durable())
	case ModePlain:
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
	c, err := rawloop.Dial(w.url, s.Queue, s.Side.Kind == kindRawSafe)
	if err != nil {
		return nil, err
	}
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

// Load makes the calls of a load.
func (w *clientWorker) Load(l load.Load, out *Loaded) error {
	before := ownUsage()
	r := l.Run(w.ctx, w.call)
	*out = Loaded{*r, ownUsage().since(before)}
	return out.Result.Pack()
}

// Finish writes what was asked for besides.
func (w *clientWorker) Finish(Nothing, *Nothing) error { return w.prof.stop() }

// Hold makes n calls at once, and tells what the process holds once they are in flight, which is when held of them have
// not been answered for a moment.
func (w *clientWorker) Hold(n int, m *Memory) error {
	ctx, cancel := context.WithCancel(w.ctx)
	var calls sync.WaitGroup
	defer calls.Wait()
	defer cancel()
	failed := make(chan error, 1)
	for range n {
		calls.Go(func() {
			if err := w.call(ctx); ctx.Err() == nil {
				select {
				case failed <- fmt.Errorf("a call ended while it was to be held: %v", err):
				default:
				}
			}
		})
	}
	select {
	case err := <-failed:
		return err
	case <-time.After(holdFor):
	}
	*m = ownMemory()
	return nil
}

// holdFor is enough to send a hundred thousand requests.
const holdFor = 15 * time.Second
