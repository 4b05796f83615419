// Package bench measures calls: how many a second, how long they take, and what they cost the processes that take part,
// beside what the same costs without this library. Client, server and broker are processes of their own.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/load"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/rawloop"
)

// Config says what to measure. The command has checked it.
type Config struct {
	URL      string // of a broker; empty for a private one
	Target   *Target
	Modes    []string
	Callers  []int
	Sizes    []int
	Sides    []Side // the first is what the others are compared with
	Rate     float64
	Rounds   int
	Warmup   time.Duration
	Duration time.Duration // of a round
	Profiles string        // a folder; may be empty
	Command  string        // that asks for all this, to repeat it

	Worker func() *exec.Cmd // a process that runs [Work]; its environment is set here
	Show   func(Progress)   // is told how far it is; may be nil
}

// A Progress is how far a run is.
type Progress struct {
	Done, Total int // loads
	Doing       string
}

// A run is one benchmark.
type run struct {
	Config
	node   *chaos.Node // nil if the broker is not ours
	report *Report
	done   int
}

// Run measures. If ctx ends, or something fails, what has been measured is returned as well, if that is anything.
func Run(ctx context.Context, c Config) (_ *Report, err error) {
	r := &run{Config: c}
	if c.URL == "" {
		if r.node, err = chaos.StartNode(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.node.Close()) }()
		r.URL = r.node.URL()
	}
	broker, err := rawloop.Broker(first(r.URL))
	if err != nil {
		return nil, err
	}
	r.report = newReport(c, broker)
	for _, cell := range c.cells() {
		result, err := r.cell(ctx, cell)
		if len(result.Rounds) > 0 {
			r.report.Cells = append(r.report.Cells, result)
		}
		if err != nil {
			return r.report, fmt.Errorf("%s: %w", cell, err)
		}
	}
	return r.report, nil
}

// first returns the first of the URLs of a cluster: the raw loop knows no other.
func first(urls string) string {
	one, _, _ := strings.Cut(urls, ",")
	return one
}

func (c Cell) String() string {
	return fmt.Sprintf("%s, %d callers, %d bytes", c.Mode, c.Callers, c.Size)
}

// cell measures all sides in turns, in processes that live as long as the cell.
func (r *run) cell(ctx context.Context, cell Cell) (CellResult, error) {
	result := CellResult{Cell: cell, Workers: cell.workers()}
	var pairs []*pair
	defer func() {
		for _, p := range pairs {
			p.end()
		}
	}()
	for _, side := range r.Sides {
		p, err := r.start(ctx, side, cell, Setup{})
		if err != nil {
			return result, fmt.Errorf("%s: %w", side.Name, err)
		}
		pairs = append(pairs, p)
		result.Goroutines = append(result.Goroutines, p.connected.Idle.Goroutines-p.connected.Before.Goroutines)
	}
	for n := range r.Rounds + 1 { // the first is to warm up
		round := make(Round, 0, len(pairs))
		for _, p := range pairs {
			r.show("%s: %s", cell, p.side.Name)
			m, err := r.measure(ctx, p, cell, n == 0)
			if err != nil {
				return result, fmt.Errorf("%s: %w", p.side.Name, err)
			}
			round = append(round, m)
		}
		if n > 0 {
			result.Rounds = append(result.Rounds, round)
		}
	}
	return result, r.finish(ctx, pairs)
}

func (r *run) show(format string, args ...any) {
	if r.Show != nil {
		r.Show(Progress{r.done, len(r.cells()) * len(r.Sides) * (r.Rounds + 1), fmt.Sprintf(format, args...)})
	}
	r.done++
}

// measure makes one load, and reads before and after what each process has used.
func (r *run) measure(ctx context.Context, p *pair, cell Cell, warmup bool) (m Measurement, err error) {
	l := load.Load{Callers: cell.Callers, Duration: r.Duration, Rate: r.Rate}
	if warmup {
		l.Duration = r.Warmup
	}
	serverBefore, brokerBefore, err := r.usages(ctx, p)
	if err != nil {
		return m, err
	}
	var client Loaded
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
	return newMeasurement(&client.Result, client.Used, server.since(serverBefore), broker-brokerBefore), nil
}

// usages returns what the server and the broker have used so far, as far as they are ours.
func (r *run) usages(ctx context.Context, p *pair) (server Usage, broker time.Duration, err error) {
	if p.server != nil {
		if err := p.server.call(ctx, "Server.Usage", Nothing{}, &server); err != nil {
			return server, 0, err
		}
	}
	if r.node != nil {
		if broker, err = r.node.CPUTime(); err != nil {
			return server, 0, err
		}
	}
	return server, broker, nil
}

func (r *run) finish(ctx context.Context, pairs []*pair) error {
	for _, p := range pairs {
		if err := p.finish(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.side.Name, err)
		}
	}
	return nil
}

// A pair is the client and the server of a side.
type pair struct {
	side           Side
	client, server *process // no server if somebody else's is called
	connected      Connected
}

// start starts the processes of a side. What is set in s already stays.
func (r *run) start(ctx context.Context, side Side, cell Cell, s Setup) (p *pair, err error) {
	s.Side, s.Cell, s.Target = side, cell, r.Target
	s.Queue = "bench-" + uuid.NewString()[:8]
	p = &pair{side: side}
	defer func() {
		if err != nil {
			p.end()
		}
	}()
	if r.Target == nil || side.Kind != kindOwn {
		if p.server, err = r.launch(side); err != nil {
			return nil, err
		}
		s.Profile = r.profile(side, cell, "server")
		if err = p.server.call(ctx, "Server.Serve", s, &Nothing{}); err != nil {
			return nil, err
		}
	}
	if p.client, err = r.launch(side); err != nil {
		return nil, err
	}
	s.Profile = r.profile(side, cell, "client")
	if err = p.client.call(ctx, "Client.Connect", s, &p.connected); err != nil {
		return nil, err
	}
	return p, nil
}

func (r *run) launch(side Side) (*process, error) {
	url := r.URL
	if side.Kind != kindOwn {
		url = first(url)
	}
	cmd := r.Worker()
	cmd.Env = append(append(os.Environ(), "RABBITMQ_URL="+url), side.Env...)
	p, err := startProcess(cmd)
	if err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	return p, nil
}

// profile returns the beginning of the names of a process's profiles, empty if there are to be none.
func (r *run) profile(side Side, cell Cell, role string) string {
	if r.Profiles == "" {
		return ""
	}
	name := strings.NewReplacer("=", "-", ",", "-", "/", "-").Replace(side.Name)
	return filepath.Join(r.Profiles, fmt.Sprintf("%s-%s-%d-callers-%d-bytes-%s", name, cell.Mode, cell.Callers, cell.Size, role))
}

// finish ends the work of a pair in good order.
func (p *pair) finish(ctx context.Context) error {
	if err := p.client.call(ctx, "Client.Finish", Nothing{}, &Nothing{}); err != nil || p.server == nil {
		return err
	}
	return p.server.call(ctx, "Server.Finish", Nothing{}, &Nothing{})
}

// end ends the processes of a pair, whatever they do.
func (p *pair) end() {
	for _, one := range []*process{p.client, p.server} {
		if one != nil {
			one.end()
		}
	}
}
