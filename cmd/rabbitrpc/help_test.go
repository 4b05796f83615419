package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command says what it is for, shows how it is used, and what its exit codes mean.
func TestHelpOfEachCommand(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" {
			return
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short text is %q, want one without a full stop", cmd.CommandPath(), cmd.Short)
		}
		if !strings.Contains(cmd.Example, "rabbitrpc "+strings.TrimPrefix(cmd.CommandPath(), "rabbitrpc ")) && cmd.HasParent() {
			t.Errorf("%s: no example of it", cmd.CommandPath())
		}
		if cmd.Long != "" && !strings.Contains(cmd.Long, "Exit codes:\n") && !strings.Contains(cmd.Long, "It exits with") {
			t.Errorf("%s: its help does not say what the exit codes mean", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newRoot())
}
