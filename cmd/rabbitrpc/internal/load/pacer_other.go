//go:build !linux

package load

import "time"

// A pacer waits as precisely as the runtime's timers do.
type pacer struct{}

func newPacer() (*pacer, error) { return &pacer{}, nil }

// until returns at that time, or at once if it is over.
func (*pacer) until(at time.Time) { time.Sleep(time.Until(at)) }

func (*pacer) close() {}
