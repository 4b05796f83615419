package endtoend

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// stopped reports whether a process was stopped by a signal.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, after, _ := strings.Cut(string(stat), ") ") // after the name, which may hold anything
	return strings.HasPrefix(after, "T")
}
