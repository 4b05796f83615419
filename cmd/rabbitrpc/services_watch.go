package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// again looks and shows until ctx ends. What does not work now may work later.
func (f *servicesFlags) again(ctx context.Context, cmd *cobra.Command, s *survey, show view) error {
	out := cmd.OutOrStdout()
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	for {
		found, err := s.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, conn.ErrRefused):
			return denied(err)
		case err != nil:
			fmt.Fprintf(cmd.ErrOrStderr(), "rabbitrpc: %s\n", sentence(err.Error()))
		default:
			if _, err := io.WriteString(out, f.picture(out, found, show)); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

const clearScreen = "\x1b[H\x1b[2J"

// picture shows what was found: in the place of the picture before, as much as fits, or to be read after it where there is no
// terminal.
func (f *servicesFlags) picture(out io.Writer, found []finding, show view) string {
	if f.output == "json" {
		return objects(found, time.Now().UTC().Format(time.RFC3339))
	}
	text := "nobody answers\n"
	if len(found) > 0 {
		text = show(painterFor(out), found)
	}
	text = fmt.Sprintf("%s, every %v\n\n%s", time.Now().Format(time.TimeOnly), f.interval, text)
	if !isTerminal(out) {
		return text + "\n"
	}
	lines := strings.SplitAfter(text, "\n")
	if _, height, err := term.GetSize(int(out.(*os.File).Fd())); err == nil && len(lines) > height && height > 1 {
		lines = append(lines[:height-2], "and more\n")
	}
	return clearScreen + strings.Join(lines, "")
}
