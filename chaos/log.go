package chaos

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const logFile = "server.log"

// openLog opens a server's log for one more life, which begins at the offset.
func openLog(path string) (f *os.File, offset int64, err error) {
	if f, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, 0, fmt.Errorf("open log: %w", err)
	}
	if offset, err = f.Seek(0, io.SeekEnd); err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("open log: %w", err)
	}
	return f, offset, nil
}

// reason returns the lines of the log, from the offset on, that are likely to tell why a start failed: those from the
// first error on, since hundreds may follow that only tell how it spread; without an error, the last.
func reason(path string, offset int64) string {
	const enough = 20
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b[min(offset, int64(len(b))):])), "\n")
	for i, line := range lines {
		if strings.Contains(line, "[error]") {
			return strings.Join(lines[i:min(i+enough, len(lines))], "\n")
		}
	}
	return strings.Join(lines[max(0, len(lines)-enough):], "\n")
}
