package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A pacer waits to within some tens of microseconds. The runtime's own timers may be a millisecond late when nothing else
// goes on, since it waits for the network in whole milliseconds; a timer that is a file wakes it on time.
type pacer struct {
	fd   int
	file *os.File
}

func newPacer() (*pacer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	return &pacer{fd, os.NewFile(uintptr(fd), "timer")}, nil
}

// until returns at that time, or at once if it is over.
func (p *pacer) until(at time.Time) {
	wait := time.Until(at)
	if wait <= 0 {
		return
	}
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	if err := unix.TimerfdSettime(p.fd, 0, &once, nil); err != nil {
		time.Sleep(wait)
		return
	}
	var expirations [8]byte
	p.file.Read(expirations[:]) // nothing can go wrong but that it is early, which is measured
}

func (p *pacer) close() { p.file.Close() }
