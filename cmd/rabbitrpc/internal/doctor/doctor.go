// Package doctor finds out what keeps programs from calling services, or from serving them, and says what to do about it. It
// changes nothing: its questions are refused by the broker, or end with its connections.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A Status is how a check has ended.
type Status string

// The ends of a check.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, and may not for long, or not well
	Problem Status = "problem"
	Skipped Status = "skipped" // it could not be told, or is of no matter; Text says why
)

// A Check is one thing that was looked at.
type Check struct {
	Target  string        // the broker, or the service
	Name    string        // what was looked at
	Status  Status        //
	Text    string        // what was found
	Cure    string        // what to do about it; "" if there is nothing to do
	Elapsed time.Duration // what it took
}

// A Role is what a user is for.
type Role string

// The roles of users.
const (
	Client      Role = "client"
	Server      Role = "server"
	Provisioner Role = "provisioner"
)

// Roles are all roles there are.
var Roles = []Role{Client, Server, Provisioner}

// Config says what to look at. URL is a list, as that of conn.Open. A right that one of Roles lacks is a problem; without any,
// it is one if the user can be none of them.
type Config struct {
	URL      string
	Services []string
	Roles    []Role
	Timeout  time.Duration // for each check
}

// A visit is one run.
type visit struct {
	Config
	ctx     context.Context
	report  func(Check)
	target  string
	blocked bool        // the broker takes no messages
	user    string      // of the target
	probe   *conn.Probe // of the first broker that can be reached
}

// Run makes all checks, one after the other, and reports each as it ends. It takes at most the timeout for each, and ends
// with ctx. An error means that nothing could be checked: the URL is none.
func Run(ctx context.Context, c Config, report func(Check)) error {
	name := conn.WithName("rabbitrpc doctor")
	targets, err := conn.Targets(c.URL, name)
	if err != nil {
		return err
	}
	v := &visit{Config: c, ctx: ctx, report: report}
	var reached *conn.Target
	for _, t := range targets {
		v.target = t.String()
		if p := v.reach(t); p != nil && reached == nil {
			reached, v.probe, v.user = t, p, t.User
			defer func() { v.probe.Close() }()
		} else if p != nil {
			p.Close()
		}
	}
	if reached == nil || ctx.Err() != nil {
		return nil
	}
	v.target = reached.String()
	v.broker(reached)
	m, err := conn.Open(ctx, c.URL, conn.WithBackgroundDial(), name, conn.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	defer v.close(m)
	if !v.connections(m) {
		return nil
	}
	if len(targets) > 1 {
		v.check("nodes", func(ctx context.Context) Check { return nodes(ctx, m) })
	}
	for _, service := range c.Services {
		v.target = service
		v.service(m, service)
	}
	return nil
}

func (v *visit) close(m *conn.Manager) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), time.Second)
	defer cancel()
	m.Close(ctx)
}

// check makes one check in its time. What it finds after the end of the run is of no interest.
func (v *visit) check(name string, f func(ctx context.Context) Check) Status {
	ctx, cancel := context.WithTimeout(v.ctx, v.Timeout)
	defer cancel()
	start := time.Now()
	c := f(ctx)
	if v.ctx.Err() != nil {
		return Skipped
	}
	c.Target, c.Name, c.Elapsed = cmp.Or(c.Target, v.target), name, time.Since(start)
	v.report(c)
	return c.Status
}

// say is a check that takes no time.
func (v *visit) say(name string, c Check) {
	v.check(name, func(context.Context) Check { return c })
}

func fine(format string, args ...any) Check {
	return Check{Status: OK, Text: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Check {
	return Check{Status: Skipped, Text: fmt.Sprintf(format, args...)}
}

// failed is for an error that no check knows better.
func failed(err error) Check {
	return Check{Status: Problem, Text: err.Error(), Cure: "see the broker's log"}
}
