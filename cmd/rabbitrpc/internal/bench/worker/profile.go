package worker

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// A profile is the processor and allocation profile of a process. A nil profile is none.
type profile struct {
	prefix string
	cpu    *os.File
}

// startProfile begins to profile, if there is a beginning of names for the files.
func startProfile(prefix string) (*profile, error) {
	if prefix == "" {
		return nil, nil
	}
	f, err := os.Create(prefix + ".cpu.pprof")
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("profile: %w", err)
	}
	return &profile{prefix, f}, nil
}

func (p *profile) stop() error {
	if p == nil {
		return nil
	}
	pprof.StopCPUProfile()
	allocs, err := os.Create(p.prefix + ".allocs.pprof")
	if err == nil {
		err = errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}
	if err = errors.Join(err, p.cpu.Close()); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}
