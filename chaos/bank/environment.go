package bank

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const (
	workers = 16
	lease   = 3 * time.Second // beyond twice what a call takes

	minBackoff, maxBackoff = 50 * time.Millisecond, time.Second // of dials: nobody else uses the broker
	closeLimit             = time.Second
)

// ErrEnvironment tells that the environment does not say which bank to serve.
var ErrEnvironment = errors.New("the environment does not say which bank to serve: chaos runs start it themselves")

// Run serves the bank that the environment tells of, until ctx ends: it is a server of a chaos run. The variables are those of
// docs/chaos.md.
func Run(ctx context.Context, log *slog.Logger) error {
	c := Config{
		Service: os.Getenv("CHAOS_SERVICE"), Database: os.Getenv("DATABASE_URL"), Store: os.Getenv("CHAOS_STORE"),
		File: filepath.Join(os.Getenv("CHAOS_DIR"), "calls.db"), Workers: workers,
	}
	for name, n := range map[string]*int{"CHAOS_QUORUM": &c.Quorum, "CHAOS_ACCOUNTS": &c.Accounts, "CHAOS_OPENING": &c.Opening} {
		var err error
		if *n, err = strconv.Atoi(os.Getenv(name)); err != nil {
			return fmt.Errorf("%w: %s is %q", ErrEnvironment, name, os.Getenv(name))
		}
	}
	var err error
	if c.Work, err = time.ParseDuration(os.Getenv("CHAOS_WORK")); err != nil {
		return fmt.Errorf("%w: CHAOS_WORK: %w", ErrEnvironment, err)
	}
	c.Lease = lease + 2*c.Work
	name := os.Getenv("CHAOS_SERVER")
	m, err := conn.Open(ctx, conn.DefaultURL(), conn.WithBackgroundDial(), conn.WithName(name), conn.WithLogger(log),
		conn.WithBackoff(minBackoff, maxBackoff))
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		_ = m.Close(ctx) // the process ends here
	}()
	s, err := New(ctx, m, c, server.WithName(name), server.WithLogger(log))
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(ctx)
}
