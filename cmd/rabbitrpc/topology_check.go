package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/topology"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const topologyCheckHelp = `Check whether the broker has what services need, and change nothing. For each thing there
is one line: ok, missing, differs with what is different, unknown with the right that it
takes to find out, or later. That is the parked queue, which servers make when they need it
first, or, with --quorum, when they start; those that may not need it to be declared.

The binding is tried with a ping, which servers answer, and which stays in no queue.
With -o json there is one object on each line: service, what, name, state, differences, reason.
`

func newTopologyCheck() *cobra.Command {
	var f topologyFlags
	var output string
	cmd := &cobra.Command{
		Use:   "check SERVICE...",
		Short: "Say what services lack, or have otherwise than they should",
		Long:  topologyCheckHelp + "\n" + exitHelp,
		Example: `  rabbitrpc topology check orders billing
  rabbitrpc topology check orders --quorum 5 -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(cmd, output); err != nil {
				return err
			}
			return f.args(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := 0
			if err := f.each(cmd, args, func(ctx context.Context, m *conn.Manager, s conn.Session, service string) error {
				found, err := f.check(ctx, m, s, service)
				if err != nil {
					return err
				}
				for _, finding := range found {
					if finding.State == topology.Missing || finding.State == topology.Differs {
						bad++
					}
				}
				return writeFindings(cmd.OutOrStdout(), output, service, found)
			}); err != nil {
				return err
			}
			if bad > 0 {
				return &hintedError{fmt.Errorf("missing or different: %d%w", bad, errFound),
					"rabbitrpc topology declare adds what is missing; a queue that differs has to be deleted first, once it is empty"}
			}
			return nil
		},
	}
	f.add(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (f *topologyFlags) check(ctx context.Context, m *conn.Manager, s conn.Session, service string) ([]topology.Finding, error) {
	p, err := probe(ctx, f.url)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return topology.Check(ctx, m, s, p, service, f.wanted(service))
}

// probe opens a probe of the first broker that can be reached.
func probe(ctx context.Context, flag string) (p *conn.Probe, err error) {
	url, _ := brokerURL(flag)
	targets, err := conn.Targets(url, conn.WithName("rabbitrpc topology"))
	for i := 0; p == nil && i < len(targets); i++ {
		p, err = targets[i].Probe(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", conn.ErrNotConnected, err)
	}
	return p, nil
}

type serviceFinding struct {
	Service string `json:"service"`
	topology.Finding
}

func writeFindings(out io.Writer, output, service string, found []topology.Finding) error {
	if output == "json" {
		for _, f := range found {
			line, err := json.Marshal(serviceFinding{service, f})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(out, printable(string(line), "")); err != nil {
				return fmt.Errorf("write what was found: %w", err)
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, f := range found {
		line := strings.Join([]string{f.State, f.What, cell(f.Name), printable(f.Detail(), "")}, "\t")
		fmt.Fprintln(w, strings.TrimRight(line, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write what was found: %w", err)
	}
	return nil
}
