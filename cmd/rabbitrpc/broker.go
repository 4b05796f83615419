package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// brokerFlags are those of each command that talks to a broker, and does not make a call.
type brokerFlags struct {
	url      string
	timeout  time.Duration
	logLevel string
}

func (f *brokerFlags) add(cmd *cobra.Command) {
	urlFlag(cmd, &f.url)
	logFlag(cmd, &f.logLevel, logOff)
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "to connect")
}

// checkTimeout refuses what leaves no time for anything.
func checkTimeout(cmd *cobra.Command, timeout time.Duration) error {
	if timeout <= 0 {
		return usagef(cmd, "timeout must be more than 0, got %v", timeout)
	}
	return nil
}

// connect waits for a session with the broker. Whoever gets a manager calls done. A signal is errInterrupted.
func (f *brokerFlags) connect(ctx context.Context, cmd *cobra.Command, name string) (m *conn.Manager, done func(), err error) {
	if err := checkTimeout(cmd, f.timeout); err != nil {
		return nil, nil, err
	}
	log, err := newLogger(cmd.ErrOrStderr(), f.logLevel)
	if err != nil {
		return nil, nil, err
	}
	if m, err = open(ctx, f.url, name, log); err != nil {
		return nil, nil, err
	}
	done = func() { closeWithin(time.Second, m.Close) }
	connecting, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := reach(connecting, m, cmd.ErrOrStderr()); err != nil {
		done()
		if ctx.Err() != nil {
			err = errInterrupted
		}
		return nil, nil, err
	}
	return m, done, nil
}
