package chaos_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The system keeps the shared memory of a process that is killed.
func TestPostgresLeavesNoMemory(t *testing.T) {
	temp := ownTemp(t)
	p := startPostgres(t)
	memory := memoryOf(temp)
	if len(kept(memory)) == 0 {
		t.Fatalf("no shared memory is found in %q: this test sees nothing", memory)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if left := kept(memory); len(left) > 0 {
		t.Errorf("left: shared memory %q", left)
	}
}

// memoryOf names the shared memory of the PostgreSQL servers in temp that outlives them: segments, by their numbers, and
// files.
func memoryOf(temp string) (found []string) {
	for _, f := range inFolder(temp, "*/data/postmaster.pid") {
		b, _ := os.ReadFile(f)
		if lines := strings.Split(string(b), "\n"); len(lines) > 6 && lines[6] != "" { // see PostgreSQL's miscinit.c
			found = append(found, strings.Fields(lines[6])[1])
		}
	}
	for _, p := range processesOf([]string{temp}) {
		maps, _ := os.ReadFile(filepath.Join(p, "maps"))
		found = append(found, regexp.MustCompile(`(?m)/dev/shm/PostgreSQL.*[0-9]$`).FindAllString(string(maps), -1)...)
	}
	return found
}

// kept returns what there is of the memory.
func kept(memory []string) []string {
	segments, _ := os.ReadFile("/proc/sysvipc/shm") // a line for each: its key, its number...
	return slices.DeleteFunc(slices.Clone(memory), func(m string) bool {
		if filepath.IsAbs(m) {
			_, err := os.Stat(m)
			return err != nil
		}
		return !regexp.MustCompile(`(?m)^ *-?[0-9]+ +` + m + ` `).Match(segments)
	})
}
