package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

const manHelp = `Write manual pages, one for each command, into a folder, which is made if it is not there.
The same program writes the same pages: their date is that of its source, if it knows it.
`

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a folder",
		Long:  manHelp + "\n" + exitHelp,
		Example: `  rabbitrpc man ./man && man -l ./man/rabbitrpc-doctor.1
  sudo rabbitrpc man /usr/local/share/man/man1`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "want a folder, got %d arguments", len(args))
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("make the folder: %w", err)
			}
			return writeMan(cmd.Root(), args[0])
		},
	}
}

// writeMan writes the page of a command, and those of the commands below it.
func writeMan(cmd *cobra.Command, dir string) error {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			if err := writeMan(c, dir); err != nil {
				return err
			}
		}
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	date, known := sourceDate()
	cmd.DisableAutoGenTag = true
	cmd.Long = preformatted(cmd.Long)
	var page bytes.Buffer
	header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Date: &date, Source: "rabbitrpc", Manual: "User Commands"}
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return fmt.Errorf("make the page of %s: %w", cmd.CommandPath(), err)
	}
	text := page.Bytes()
	if !known { // the generator would take today's
		text = bytes.Replace(text, []byte(date.Format(manDate)), nil, 1)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".1"), text, 0o644); err != nil {
		return fmt.Errorf("write the page of %s: %w", cmd.CommandPath(), err)
	}
	return nil
}

const manDate = "Jan 2006" // as the generator writes it

// preformatted marks the paragraphs that have lists in them, which the generator would fill as any text.
func preformatted(long string) string {
	paragraphs := strings.Split(long, "\n\n")
	for i, p := range paragraphs {
		if strings.Contains("\n"+p, "\n  ") {
			paragraphs[i] = "    " + strings.ReplaceAll(strings.TrimRight(p, "\n"), "\n", "\n    ")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// sourceDate is when the source of this program was committed, if that is known: not if it was built with -buildvcs=false.
func sourceDate() (date time.Time, known bool) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}
