package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/report"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
)

const (
	holdLimit = worker.HoldTimeout // of waiting for all of them to be out
	holdPoll  = 200 * time.Millisecond
)

// hold measures what calls take while they wait for a server that keeps them, or in its queue.
func (r *run) hold(ctx context.Context, side worker.Side) error {
	cell := worker.Cell{Mode: r.Modes[0], Callers: r.InFlight, Size: r.Sizes[0]}
	p, err := r.start(ctx, worker.Setup{Side: side, Cell: cell, Hold: true})
	if err != nil {
		return err
	}
	defer p.end()
	ctx, cancel := context.WithTimeout(ctx, holdLimit)
	defer cancel()
	if err := p.client.call(ctx, "Client.Hold", r.InFlight, &worker.Nothing{}); err != nil {
		return err
	}
	for held := 0; held < r.InFlight; {
		if err := p.server.call(ctx, "Server.Held", worker.Nothing{}, &held); err != nil {
			return fmt.Errorf("%d of %d are out: %w", held, r.InFlight, err)
		}
		select {
		case <-time.After(holdPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var m worker.Memory
	if err := p.client.call(ctx, "Client.Memory", worker.Nothing{}, &m); err != nil {
		return err
	}
	before := p.connected.Idle
	r.report.Holds = append(r.report.Holds, report.Hold{
		Side: side.Name, Calls: r.InFlight,
		Heap:       (float64(m.Heap) - float64(before.Heap)) / float64(r.InFlight),
		Stacks:     (float64(m.Stacks) - float64(before.Stacks)) / float64(r.InFlight),
		Goroutines: before.Goroutines - p.connected.Before.Goroutines,
	})
	return nil
}
