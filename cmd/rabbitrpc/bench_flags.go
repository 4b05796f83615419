package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// envURL stands for the URL in the environment, which no other user of the machine sees.
const envURL = "env"

// complete checks the flags, and makes of them what the benchmark takes.
func (f *benchFlags) complete() error {
	if err := f.check(); err != nil {
		return err
	}
	if f.service != "" {
		f.Target = &worker.Target{Service: f.service, Method: f.method, Body: []byte(f.body)}
		f.Sizes = []int{len(f.body)}
	}
	own := worker.Side{Name: "rabbitrpc", Kind: worker.Own}
	if f.env != "" {
		var err error
		if own.Env, err = worker.ParseEnv(f.env); err != nil {
			return fmt.Errorf("--env: %w", err)
		}
	}
	f.Sides = []worker.Side{own}
	for _, text := range f.compare {
		side, err := worker.ParseSide(text)
		if err != nil {
			return fmt.Errorf("--compare: %w", err)
		}
		f.Sides = append(f.Sides, side)
	}
	f.Command = "rabbitrpc " + strings.Join(os.Args[1:], " ")
	if f.URL != "" {
		f.Command = strings.ReplaceAll(f.Command, f.URL, "URL") // it may have a password
	}
	if f.URL == envURL || f.URL == "" && f.Target != nil {
		f.URL = conn.DefaultURL()
	}
	return nil
}

// Bounds of what can be asked for: beyond them it is a mistake.
const (
	maxCallers  = 10_000
	maxSize     = 4 << 20 // as servers take by default
	maxInFlight = 1_000_000
	maxRate     = 1_000_000
	maxDuration = time.Hour
	minDuration = 100 * time.Millisecond
)

func (f *benchFlags) check() error {
	for _, mode := range f.Modes {
		if !slices.Contains(worker.Modes, mode) {
			return fmt.Errorf("--mode must be %s, got %q", strings.Join(worker.Modes, ", "), mode)
		}
		if f.service != "" && mode != worker.Direct && mode != worker.Durable {
			return fmt.Errorf("--service is for --mode direct and durable, not %s", mode)
		}
	}
	for _, n := range f.Callers {
		if n < 1 || n > maxCallers {
			return fmt.Errorf("--callers must be 1 to %d, got %d", maxCallers, n)
		}
	}
	for _, n := range f.Sizes {
		if n < 0 || n > maxSize {
			return fmt.Errorf("--size must be 0 to %d, got %d", maxSize, n)
		}
	}
	switch {
	case len(f.Modes) == 0, len(f.Callers) == 0, len(f.Sizes) == 0:
		return errors.New("--mode, --callers and --size need a value each")
	case !(f.Rate >= 0 && f.Rate <= maxRate): // nor is it NaN
		return fmt.Errorf("--rate must be up to %d, got %v", maxRate, f.Rate)
	case f.Rounds < 1 || f.Rounds > 1000:
		return fmt.Errorf("--rounds must be 1 to 1000, got %d", f.Rounds)
	case f.Duration < minDuration || f.Duration > maxDuration:
		return fmt.Errorf("--duration must be %v to %v, got %v", minDuration, maxDuration, f.Duration)
	case f.Warmup < 0 || f.Warmup > maxDuration:
		return fmt.Errorf("--warmup must be up to %v, got %v", maxDuration, f.Warmup)
	case f.InFlight < 0 || f.InFlight > maxInFlight:
		return fmt.Errorf("--inflight must be up to %d, got %d", maxInFlight, f.InFlight)
	}
	return f.checkTarget()
}

func (f *benchFlags) checkTarget() error {
	switch {
	case f.service == "" && f.method != "":
		return errors.New("--method is of a service: say which with --service")
	case f.service == "":
		return nil
	case f.method == "":
		return errors.New("--service needs a --method")
	case f.InFlight > 0:
		return errors.New("--inflight needs a server that keeps its calls, not one of --service")
	case !json.Valid([]byte(f.body)):
		return errors.New("--body is not JSON")
	}
	return nil
}
