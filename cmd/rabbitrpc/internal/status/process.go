package status

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func (b *Board) process() Process {
	return Process{
		Version: b.version, Host: b.host, PID: os.Getpid(), Uptime: time.Since(b.start).Seconds(),
		Goroutines: runtime.NumGoroutine(), RSS: rss(),
	}
}

// rss returns the memory that the process has, in bytes, or 0 where Linux's /proc is not there. See proc_pid_statm(5).
func rss() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}
