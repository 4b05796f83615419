package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of processor times in /proc: it is the same on all architectures that Go runs on. See man 5 proc.
const tick = 10 * time.Millisecond

// groupCPU returns the processor time of the processes of a group that are there now.
func groupCPU(group int) (total time.Duration, err error) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is valid
	for _, f := range files {
		stat, err := os.ReadFile(f)
		if err != nil {
			continue // it has just ended
		}
		// Behind the number and the name: state, parent, group; utime and stime are the 12th and the 13th.
		rest := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(rest) < 13 || string(rest[2]) != strconv.Itoa(group) {
			continue
		}
		for _, field := range rest[11:13] {
			ticks, err := strconv.ParseInt(string(field), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", f, err)
			}
			total += time.Duration(ticks) * tick
		}
	}
	return total, nil
}
