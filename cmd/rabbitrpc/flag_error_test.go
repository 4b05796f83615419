package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestFlagsSayWhatTheyTake: of each flag of each command.
func TestFlagsSayWhatTheyTake(t *testing.T) {
	var visit func(*cobra.Command)
	checked := 0
	visit = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			root := newRoot()
			root.SetArgs(append(strings.Fields(cmd.CommandPath())[1:], "--"+f.Name+`=x"y`))
			root.SetOut(io.Discard)
			if strings.HasPrefix(f.Value.Type(), "string") && f.Value.Type() != "stringSlice" {
				return // it takes anything, and checks come later
			}
			checked++
			err := root.Execute()
			if err == nil || !strings.HasPrefix(err.Error(), "--"+f.Name+" must be ") || !strings.HasSuffix(err.Error(), `, got "x\"y"`) {
				t.Errorf("%s --%s: got %v, want what it takes", cmd.CommandPath(), f.Name, err)
			}
		})
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(newRoot())
	if checked < 50 {
		t.Errorf("%d flags were tried", checked)
	}
}
