package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
)

const completionHelp = `Print the script that makes a shell complete commands, flags and their values.
`

// shells are those that there are scripts for.
var shells = map[string]func(root *cobra.Command, out io.Writer) error{
	"bash":       func(root *cobra.Command, out io.Writer) error { return root.GenBashCompletionV2(out, true) },
	"zsh":        func(root *cobra.Command, out io.Writer) error { return root.GenZshCompletion(out) },
	"fish":       func(root *cobra.Command, out io.Writer) error { return root.GenFishCompletion(out, true) },
	"powershell": func(root *cobra.Command, out io.Writer) error { return root.GenPowerShellCompletionWithDesc(out) },
}

func newCompletion() *cobra.Command {
	names := slices.Sorted(maps.Keys(shells))
	return &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "Print the completion script of a shell",
		Long:  completionHelp + "\n" + exitHelp,
		Example: `  source <(rabbitrpc completion bash)      # this shell; it needs the package bash-completion
  rabbitrpc completion bash | sudo tee /etc/bash_completion.d/rabbitrpc
  rabbitrpc completion zsh > "${fpath[1]}/_rabbitrpc"
  rabbitrpc completion fish > ~/.config/fish/completions/rabbitrpc.fish`,
		DisableFlagsInUseLine: true,
		ValidArgs:             names,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || shells[args[0]] == nil {
				return usagef(cmd, "want one of %s", strings.Join(names, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := shells[args[0]](cmd.Root(), cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("write the script: %w", err)
			}
			return nil
		},
	}
}

// flagValues are what flags of these names take, in all commands that have them.
var flagValues = map[string][]string{
	"log-level": {"debug", "info", "warn", "error", logOff},
	"as":        roleNames(),
	"mode":      worker.Modes,
	"store":     bank.Stores,
}

// completeValues makes all commands complete the values of flags, and not the names of files where none are taken.
func completeValues(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		completeValues(c)
	}
	file := strings.Contains(cmd.Use, "FILE") || strings.Contains(cmd.Use, "DIR")
	if !file && cmd.ValidArgs == nil && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		values := flagValues[f.Name]
		if f.Name == "output" && f.Shorthand == "o" {
			values = outputs(f)
		}
		switch {
		case values != nil:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		case f.Value.Type() != "string", f.Name == "url", f.Name == "queue":
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // unless it has one
		}
	})
}

// outputs are the formats that a flag -o offers: its default, and those in its usage.
func outputs(f *pflag.Flag) []string {
	words := strings.FieldsFunc(f.Usage, func(r rune) bool { return strings.ContainsRune(" ,|", r) })
	return slices.DeleteFunc(words, func(w string) bool { return w == "or" })
}
