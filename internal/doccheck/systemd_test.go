package doccheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnit has systemd read the unit file, and judge how much it leaves open: 0 is nothing, 100 is all.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze")
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/systemd/rabbitrpc.service"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable() // any program will do, but it has to be there
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "rabbitrpc.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/rabbitrpc", self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, ".", "systemd-analyze", "verify", unit); out != "" {
		t.Errorf("systemd complains: %s", out)
	}
	run(t, ".", "systemd-analyze", "security", "--offline=yes", "--threshold=15", unit)
}
