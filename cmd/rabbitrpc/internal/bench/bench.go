// Package bench measures calls: how many a second, how long they take, and what they cost the processes that take part,
// beside what the same costs without this library. Client, server and broker are processes of their own.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/report"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/load"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// Config says what to measure. The command has checked it.
type Config struct {
	Command  string         // that asks for all this, to repeat it
	URL      string         // of a broker; empty for a private one
	Target   *worker.Target // what to call; nil for a server of our own
	Sides    []worker.Side  // the first is compared with each of the others
	Modes    []string
	Callers  []int
	Sizes    []int
	Rate     float64       // calls that begin each second; 0 for a closed loop
	Rounds   int           // in which the sides take turns
	Warmup   time.Duration // of each side, before the first round
	Duration time.Duration // of each side in a round
	InFlight int           // calls to be held in flight, after all else; 0 for none
	Profiles string        // a folder for profiles; may be empty

	Worker func() *exec.Cmd // a process that runs [worker.Run]; its environment is set here
	Show   func(Progress)   // is told how far it is; may be nil
}

// cells returns all combinations, those with the same mode and size together.
func (c *Config) cells() (all []worker.Cell) {
	for _, mode := range c.Modes {
		for _, size := range c.Sizes {
			for _, callers := range c.Callers {
				all = append(all, worker.Cell{Mode: mode, Callers: callers, Size: size})
			}
		}
	}
	return all
}

// A Progress is how far a run is.
type Progress struct {
	Done, Total int // parts of about the same length
	Doing       string
}

// A run is one benchmark.
type run struct {
	Config
	node   *chaos.Node // nil if the broker is not ours
	one    string      // of the URLs, for who takes no more
	report *report.Report
	done   int
}

// Run measures. If ctx ends, or something fails, the report has what has been measured until then. It is nil if nothing has.
func Run(ctx context.Context, c Config) (_ *report.Report, err error) {
	r := &run{Config: c}
	if c.URL == "" {
		if r.node, err = chaos.StartNode(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.node.Close()) }()
		r.URL = r.node.URL()
	}
	broker, err := r.choose(ctx)
	if err != nil {
		return nil, err
	}
	r.report = &report.Report{
		Command: c.Command, Machine: report.ThisMachine(), Broker: broker, Private: c.URL == "",
		Sides: c.Sides, Rate: c.Rate, Seconds: c.Duration.Seconds(),
	}
	for _, cell := range c.cells() {
		result, err := r.cell(ctx, cell)
		if len(result.Rounds) > 0 {
			r.report.Cells = append(r.report.Cells, result)
		}
		if err != nil {
			return r.reported(), fmt.Errorf("%s: %w", cell, err)
		}
	}
	if c.InFlight > 0 {
		for _, side := range c.Sides {
			if err := r.hold(ctx, side); err != nil {
				return r.reported(), fmt.Errorf("%s: hold calls in flight: %w", side.Name, err)
			}
		}
	}
	return r.report, nil
}

// reported is what there is of a report that is not complete.
func (r *run) reported() *report.Report {
	if len(r.report.Cells) == 0 {
		return nil
	}
	r.report.Incomplete = true
	return r.report
}

const reachTimeout = 10 * time.Second // of one URL

// choose finds the first of the URLs that leads to a broker, for the raw loop, which knows one only, and returns what that
// broker is.
func (r *run) choose(ctx context.Context) (broker string, err error) {
	targets, err := conn.Targets(r.URL)
	if err != nil {
		return "", err
	}
	for _, t := range targets {
		reaching, cancel := context.WithTimeout(ctx, reachTimeout)
		p, failed := t.Probe(reaching)
		cancel()
		if failed != nil {
			err = failed
			continue
		}
		r.one = t.URL()
		return p.Broker.Product + " " + p.Broker.Version, p.Close()
	}
	return "", err
}

func (r *run) show(format string, args ...any) {
	if r.Show != nil {
		total := len(r.cells()) * len(r.Sides) * (1 + r.Rounds)
		r.Show(Progress{r.done, total, fmt.Sprintf(format, args...)})
	}
	r.done++
}

// cell measures all sides in turns, in processes that live as long as the cell.
func (r *run) cell(ctx context.Context, cell worker.Cell) (report.CellResult, error) {
	result := report.CellResult{Cell: cell, Workers: cell.Workers()}
	var pairs []*pair
	defer func() {
		var wg sync.WaitGroup
		for _, p := range pairs {
			wg.Go(p.end)
		}
		wg.Wait()
	}()
	for _, side := range r.Sides {
		p, err := r.start(ctx, worker.Setup{Side: side, Cell: cell})
		if err != nil {
			return result, fmt.Errorf("%s: %w", side.Name, err)
		}
		pairs = append(pairs, p)
		result.Goroutines = append(result.Goroutines, p.connected.Idle.Goroutines-p.connected.Before.Goroutines)
	}
	if _, err := r.round(ctx, cell, pairs, r.Warmup); err != nil {
		return result, err
	}
	for range r.Rounds {
		round, err := r.round(ctx, cell, pairs, r.Duration)
		if err != nil {
			return result, err
		}
		result.Rounds = append(result.Rounds, round)
	}
	for _, p := range pairs {
		if err := p.finish(ctx); err != nil {
			return result, fmt.Errorf("%s: %w", p.side.Name, err)
		}
	}
	return result, nil
}

// round makes the load of a cell on one side after the other.
func (r *run) round(ctx context.Context, cell worker.Cell, pairs []*pair, d time.Duration) (report.Round, error) {
	l := load.Load{Callers: cell.Callers, Duration: d, Rate: r.Rate}
	round := make(report.Round, 0, len(pairs))
	for _, p := range pairs {
		r.show("%s: %s", cell, p.side.Name)
		m, err := r.measure(ctx, p, l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.side.Name, err)
		}
		round = append(round, m)
	}
	return round, nil
}

// measure makes one load, and reads before and after it what the processes have used.
func (r *run) measure(ctx context.Context, p *pair, l load.Load) (m report.Measurement, err error) {
	serverBefore, brokerBefore, err := r.usages(ctx, p)
	if err != nil {
		return m, err
	}
	var client worker.Loaded
	if err := p.client.call(ctx, "Client.Load", l, &client); err != nil {
		return m, err
	}
	server, broker, err := r.usages(ctx, p)
	if err != nil {
		return m, err
	}
	if err := client.Result.Unpack(); err != nil {
		return m, err
	}
	return report.NewMeasurement(&client.Result, client.Used, server.Since(serverBefore), broker-brokerBefore), nil
}

// usages returns what the server and the broker have used so far, as far as they are ours.
func (r *run) usages(ctx context.Context, p *pair) (server worker.Usage, broker time.Duration, err error) {
	if p.server != nil {
		if err := p.server.call(ctx, "Server.Usage", worker.Nothing{}, &server); err != nil {
			return server, 0, err
		}
	}
	if r.node != nil {
		if broker, err = r.node.CPUTime(); errors.Is(err, errors.ErrUnsupported) {
			err = nil // it is not known, and not shown
		}
	}
	return server, broker, err
}
