package bench

import (
	"context"
	"fmt"
	"time"
)

const (
	holdTimeout = 10 * time.Minute // of calls that are held, and of waiting for all of them to be out
	holdPoll    = 200 * time.Millisecond
)

// A Hold is what calls take that are in flight, and a client that has none.
type Hold struct {
	Side       string  `json:"side"`
	Calls      int     `json:"calls"`
	Heap       float64 `json:"heap_bytes"`      // of the client, for each call
	Stacks     float64 `json:"stack_bytes"`     // the same, of which most is the caller's own
	Goroutines int     `json:"idle_goroutines"` // of a client without calls
}

// hold measures what calls take while they wait for a server that keeps them, or in its queue.
func (r *run) hold(ctx context.Context, side Side) error {
	cell := Cell{Mode: r.Modes[0], Callers: r.InFlight, Size: r.Sizes[0]}
	p, err := r.start(ctx, Setup{Side: side, Cell: cell, Hold: true})
	if err != nil {
		return err
	}
	defer p.end()
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	if err := p.client.call(ctx, "Client.Hold", r.InFlight, &Nothing{}); err != nil {
		return err
	}
	for held := 0; held < r.InFlight; {
		if err := p.server.call(ctx, "Server.Held", Nothing{}, &held); err != nil {
			return fmt.Errorf("%d of %d are out: %w", held, r.InFlight, err)
		}
		select {
		case <-time.After(holdPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var m Memory
	if err := p.client.call(ctx, "Client.Memory", Nothing{}, &m); err != nil {
		return err
	}
	before := p.connected.Idle
	r.report.Holds = append(r.report.Holds, Hold{
		Side: side.Name, Calls: r.InFlight,
		Heap:       (float64(m.Heap) - float64(before.Heap)) / float64(r.InFlight),
		Stacks:     (float64(m.Stacks) - float64(before.Stacks)) / float64(r.InFlight),
		Goroutines: before.Goroutines - p.connected.Before.Goroutines,
	})
	return nil
}
