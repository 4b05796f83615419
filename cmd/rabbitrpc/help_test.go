package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The help has all commands in their groups, and the README in the same order.
func TestCommandsInOrder(t *testing.T) {
	var want []string
	for _, c := range newRoot().Commands() {
		if c.Hidden || c.Name() == "man" { // which is in the line of completion
			continue
		}
		want = append(want, c.Name())
		if shell := c.Name() == "completion" || c.Name() == "version"; (c.GroupID == "") != shell {
			t.Errorf("%s is in group %q", c.Name(), c.GroupID)
		}
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\n## The command\n")
	list, _, _ = strings.Cut(list, "\n## ")
	var got []string
	for _, line := range regexp.MustCompile(`(?m)^    bin/rabbitrpc (\w+)`).FindAllStringSubmatch(list, -1) {
		got = append(got, line[1])
	}
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("the README has\n%q, want\n%q", got, want)
	}
}

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
