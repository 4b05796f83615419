package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/doctor"
)

const doctorHelp = `Find out what keeps programs from calling services, or from serving them, and what to do
about it.

For each broker of the URL: address, connect, TLS, login, virtual host. Of the first that
can be reached: version, heartbeat, round trip, alarms, clock, limits, session. For each
service: rights, exchange, queue, servers, parked requests. Each check ends as ok, warning,
problem, or skipped where it cannot be told or does not matter. After a problem on the way
to the broker there is nothing behind it to check.

Nothing is changed: it asks for rights with what the broker then refuses for another
reason, and pings servers with what stays in no queue. --as says what the user is to be,
a client, a server or a provisioner, who declares queues for servers. A right that it lacks
is a problem then; without --as it is one if the user can be none of them.

The exit code is 6 if there is a problem, and 0 if there are warnings only. With -o json there is
one object on each line: target, check, status, text, cure, elapsed_ms.
`

type doctorFlags struct {
	url     string
	as      []string
	output  string
	timeout time.Duration
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [SERVICE...]",
		Short: "Say what is wrong with the broker, the user or a service, and what to do",
		Long:  doctorHelp + "\n" + exitHelp,
		Example: `  rabbitrpc doctor
  rabbitrpc doctor orders billing
  rabbitrpc doctor orders --as client -o json
  RABBITMQ_URL='amqps://me:secret@broker.example/prod?cacertfile=ca.pem' rabbitrpc doctor orders`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return f.run(ctx, cmd.OutOrStdout(), args)
		},
	}
	urlFlag(cmd, &f.url)
	outputFlag(cmd, &f.output)
	cmd.Flags().StringSliceVar(&f.as, "as", nil, "what the user is to be: client, server or provisioner; may be repeated")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "for each check; RabbitMQ takes three seconds to refuse a wrong password")
	return cmd
}

func roleNames() []string {
	names := make([]string, len(doctor.Roles))
	for i, r := range doctor.Roles {
		names[i] = string(r)
	}
	return names
}

func (f *doctorFlags) args(cmd *cobra.Command, args []string) error {
	if err := cmp.Or(checkOutput(cmd, f.output), checkTimeout(cmd, f.timeout)); err != nil {
		return err
	}
	for _, role := range f.as {
		if !slices.Contains(roleNames(), role) {
			return usagef(cmd, "--as must be client, server or provisioner, got %q", role)
		}
	}
	return checkServices(cmd, args)
}

func (f *doctorFlags) run(ctx context.Context, out io.Writer, services []string) error {
	url, source := brokerURL(f.url)
	c := doctor.Config{URL: url, Services: services, Timeout: f.timeout}
	for _, role := range f.as {
		c.Roles = append(c.Roles, doctor.Role(role))
	}
	count := make(map[doctor.Status]int)
	write := checkWriter(out, f.output)
	var unwritten error
	err := doctor.Run(ctx, c, func(c doctor.Check) {
		count[c.Status]++
		unwritten = cmp.Or(unwritten, write(c))
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", source, err)
	case unwritten != nil:
		return unwritten
	case ctx.Err() != nil:
		return errInterrupted
	case count[doctor.Problem] > 0:
		return fmt.Errorf("problems found: %d%w", count[doctor.Problem], errFound)
	}
	return nil
}

// A checked is what a program gets of a check.
type checked struct {
	Target  string        `json:"target"`
	Check   string        `json:"check"`
	Status  doctor.Status `json:"status"`
	Text    string        `json:"text"`
	Cure    string        `json:"cure,omitempty"`
	Elapsed float64       `json:"elapsed_ms"`
}

// checkWriter returns what writes a check as soon as it ends. For people there is a headline for each broker and service.
func checkWriter(out io.Writer, output string) func(doctor.Check) error {
	if output == "json" {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return func(c doctor.Check) error {
			ms := float64(c.Elapsed.Microseconds()) / 1000
			return e.Encode(checked{c.Target, c.Name, c.Status, printable(c.Text, ""), c.Cure, ms})
		}
	}
	target, paint := "", painterFor(out)
	return func(c doctor.Check) error {
		text := ""
		if c.Target != target {
			target = c.Target
			text = printable(target, "") + "\n"
		}
		pad := strings.Repeat(" ", len(doctor.Problem)-len(c.Status))
		text += fmt.Sprintf("  %s%s  %-14s  %s\n", paint(statusColor[c.Status], string(c.Status)), pad, c.Name, sentence(c.Text))
		if c.Cure != "" {
			text += fmt.Sprintf("           %-14s  -> %s\n", "", sentence(c.Cure))
		}
		_, err := io.WriteString(out, text)
		return err
	}
}

var statusColor = map[doctor.Status]color{doctor.OK: green, doctor.Warning: yellow, doctor.Problem: red}
