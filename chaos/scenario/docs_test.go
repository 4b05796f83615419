package scenario

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The table of faults names each scenario, and no test or scenario that there is not.
func TestTableOfFaults(t *testing.T) {
	text, err := os.ReadFile("../../docs/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "## What was broken, and what came of it")
	table, _, ended := strings.Cut(table, "## Invariants of a chaos run")
	if !ok || !ended {
		t.Fatal("docs/failures.md has no table of what was broken")
	}
	for _, s := range All() {
		if !strings.Contains(table, "`"+s.Name+"`") {
			t.Errorf("the table does not name the scenario %s", s.Name)
		}
	}
	tests, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "-hoE", `func Test\w+`, "--", "*_test.go").Output()
	if err != nil {
		t.Skipf("no list of tests: %v", err)
	}
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(table, -1) {
		if !strings.Contains(string(tests), "func "+name[1]+"\n") {
			t.Errorf("the table names %s, and there is no such test", name[1])
		}
	}
}
