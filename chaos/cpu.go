package chaos

import (
	"fmt"
	"time"
)

// CPUTime returns the processor time that the server has used since its last start, in steps of 10 ms. Elsewhere than on
// Linux it is not known, and the error is errors.ErrUnsupported.
func (d *daemon) CPUTime() (time.Duration, error) {
	p, err := d.running()
	if err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", d.title, err)
	}
	t, err := groupCPU(p.cmd.Process.Pid)
	if err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", d.title, err)
	}
	return t, nil
}
