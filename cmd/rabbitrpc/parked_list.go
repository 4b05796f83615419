package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

const parkedListHelp = `List the requests that are parked for a service, the oldest first. What came from the
caller is as true as the caller: CLIENT, and METHOD. USER is who the broker has
checked, - if the caller did not say it. ATTEMPTS is how often it was started.

With -o json there is one object on each line: call, method, parked, attempts, user,
client, size, reason, server.
`

func newParkedList() *cobra.Command {
	var f parkedFlags
	var limit int
	var output string
	cmd := &cobra.Command{
		Use:   "ls SERVICE",
		Short: "List the requests that are parked for a service",
		Long:  parkedListHelp + "\n" + exitHelp,
		Example: `  rabbitrpc parked ls math
  rabbitrpc parked ls math -o json | jq -r 'select(.method == "fib") | .call'`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usagef(cmd, "want a service, got %d arguments", len(args))
			case limit < 1 || limit > parked.MaxHeld:
				return usagef(cmd, "limit must be 1 to %d, got %d", parked.MaxHeld, limit)
			}
			if err := checkOutput(cmd, output); err != nil {
				return err
			}
			return checkService(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.read(cmd, args[0], parked.MaxHeld, func(ctx context.Context, q *parked.Queue) error {
				if q.Len() == 0 {
					nothingParked(cmd.ErrOrStderr(), args[0])
					return nil
				}
				if more := q.Len() - limit; more > 0 {
					defer fmt.Fprintf(cmd.ErrOrStderr(), "rabbitrpc: %d more are parked, see --limit\n", more)
				}
				var list lister = newTable(cmd.OutOrStdout())
				if output == "json" {
					list = lines{cmd.OutOrStdout()}
				}
				return listFirst(ctx, q, limit, list)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "how many to list")
	outputFlag(cmd, &output)
	return cmd
}

// A lister writes a list of parked requests.
type lister interface {
	add(r *parked.Request) error
	flush() error
}

// listFirst lists so many requests, and reads all: see [parked.Open].
func listFirst(ctx context.Context, q *parked.Queue, limit int, list lister) error {
	n := 0
	for r, err := range q.Requests(ctx) {
		if n++; err == nil && n <= limit {
			err = list.add(r)
		}
		if err != nil {
			return err
		}
	}
	return list.flush()
}

// A table is of parked requests, one to a line.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer) table {
	t := table{tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
	fmt.Fprintln(t.w, "CALL\tMETHOD\tPARKED\tATTEMPTS\tUSER\tCLIENT\tSIZE\tREASON")
	return t
}

func (t table) add(r *parked.Request) error {
	_, err := fmt.Fprintf(t.w, "%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n", cell(r.CorrelationID), cell(r.Type), cell(when(r.At)), r.Attempts,
		cell(r.User), cell(wire.ClientOf(&r.Message)), len(r.Body), cell(r.Reason))
	return err
}

func (t table) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return nil
}

// cell is a text that stays where it is put.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return printable(text, "")
}

// when is a time of any host.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// A listed is what a program gets of a parked request.
type listed struct {
	Call     string `json:"call"`
	Method   string `json:"method"`
	Parked   string `json:"parked"`
	Attempts int    `json:"attempts"`
	User     string `json:"user"`
	Client   string `json:"client"`
	Size     int    `json:"size"`
	Reason   string `json:"reason"`
	Server   string `json:"server"`
}

// lines are JSON objects, one to a line.
type lines struct{ w io.Writer }

func (l lines) add(r *parked.Request) error {
	line, err := json.Marshal(listed{
		r.CorrelationID, r.Type, when(r.At), r.Attempts, r.User, wire.ClientOf(&r.Message), len(r.Body), r.Reason, r.Server,
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(l.w, printable(string(line), "")); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return nil
}

func (lines) flush() error { return nil }
