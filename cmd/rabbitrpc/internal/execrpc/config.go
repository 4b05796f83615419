// Package execrpc answers calls with programs: one for each call, or long-lived workers that speak JSON, a line for each
// request and each reply. docs/adapters.md is the contract of both.
//
// # Guarantees
//
// A program leads a process group of its own, and the group ends with it: at the call's deadline, when the server stops, and
// when the program leaves children behind. On Linux the program, not its children, is killed even when this process is
// SIGKILLed.
//
// An error says that the call was executed only if the program has ended by itself, with an answer. Whatever ends it before
// leaves the outcome in doubt, see [rpc.ErrInDoubt].
package execrpc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Config says which program answers which methods, and within which bounds. Zero values are the defaults. It is a kind of
// service of the daemon.
type Config struct {
	// Command is the absolute path of the program, and its arguments. No shell reads it. Without a pool, {method} in an
	// argument stands for the method that is called.
	Command []string `koanf:"command"`

	// Names are the methods that it answers.
	Names []string `koanf:"methods"`

	// Pool is how many long-lived workers there are, 1 to 1000; 0 starts the program for each call.
	Pool int `koanf:"pool"`

	// Dir is the absolute path of the working directory. Default: that of this process.
	Dir string `koanf:"dir"`

	// Env is what the program gets beside what its call gives it. Of this process's environment it gets PATH alone, and what
	// PassEnv names.
	Env     map[string]config.Hidden `koanf:"env"`
	PassEnv []string                 `koanf:"pass_env"`

	// ReplyType is the content type of replies. Default application/json. Workers may say another for each reply.
	ReplyType string `koanf:"reply_type"`

	// MaxReply is how many bytes a reply may have: 1 to 512 MiB, default 4 MiB.
	MaxReply int `koanf:"max_reply"`

	// Grace is the time between SIGTERM and SIGKILL: 1ms to 1m, default 2s.
	Grace time.Duration `koanf:"grace"`
}

const (
	maxPool  = 1000
	maxReply = 512 << 20 // RabbitMQ takes no more, however it is set up
	maxGrace = time.Minute
)

// Check reports what cannot work on this machine: the program must be there, and executable.
func (c *Config) Check() error {
	if err := supported(); err != nil {
		return err
	}
	d := c.withDefaults()
	switch {
	case d.Pool < 0 || d.Pool > maxPool:
		return wrong("pool", "must be 0, for a program for each call, or 1 to %d, got %d", maxPool, d.Pool)
	case len(d.ReplyType) > 255:
		return wrong("reply_type", "must have at most 255 bytes, got %d", len(d.ReplyType))
	case d.MaxReply < 1 || d.MaxReply > maxReply:
		return wrong("max_reply", "must be 1 to %d, got %d", maxReply, d.MaxReply)
	case d.Grace < time.Millisecond || d.Grace > maxGrace:
		return wrong("grace", "must be 1ms to %v, got %v", maxGrace, d.Grace)
	}
	return cmp.Or(config.CheckMethods(d.Names), c.checkCommand(), c.checkDir(), c.checkEnv())
}

// Methods returns the names of the methods.
func (c *Config) Methods() []string { return c.Names }

// Closing is how long the programs may take to end when the service does.
func (c *Config) Closing() time.Duration { return c.withDefaults().Grace }

// Serve makes s answer the methods with the program.
func (c *Config) Serve(s *server.Server, log *slog.Logger) (close func(), err error) {
	u, err := New(c, log.With("service", s.Service()))
	if err != nil {
		return nil, err
	}
	for _, m := range c.Names {
		s.Handle(m, u.Handle)
	}
	return u.Close, nil
}

func (c *Config) withDefaults() Config {
	d := *c
	d.ReplyType = cmp.Or(d.ReplyType, rpc.ContentTypeJSON)
	d.MaxReply = cmp.Or(d.MaxReply, 4<<20)
	d.Grace = cmp.Or(d.Grace, 2*time.Second)
	return d
}

func wrong(key, format string, args ...any) error {
	return &config.KeyError{Key: key, Problem: fmt.Sprintf(format, args...)}
}

func (c *Config) checkCommand() error {
	if len(c.Command) == 0 || c.Command[0] == "" {
		return wrong("command", "is missing: the absolute path of a program, and its arguments")
	}
	program := c.Command[0]
	if !filepath.IsAbs(program) {
		hint := ""
		if found, err := exec.LookPath(program); err == nil && filepath.IsAbs(found) {
			hint = ", such as " + found
		}
		return wrong("command", "must begin with an absolute path%s, got %q", hint, program)
	}
	if _, err := exec.LookPath(program); err != nil {
		return wrong("command", "%s cannot be run: %s", program, reason(err))
	}
	for _, arg := range c.Command {
		if strings.ContainsRune(arg, 0) {
			return wrong("command", "must not contain a NUL byte, got %q", arg)
		}
		if c.Pool > 0 && strings.Contains(arg, "{method}") {
			return wrong("command", "must not have {method} beside pool: a worker learns from each request which it is")
		}
	}
	return nil
}

// reason is an error of LookPath without the path, and what was tried with it.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		return e.Err
	}
	return err
}

func (c *Config) checkDir() error {
	if c.Dir == "" {
		return nil
	}
	info, err := os.Stat(c.Dir)
	switch {
	case !filepath.IsAbs(c.Dir):
		return wrong("dir", "must be an absolute path, got %q", c.Dir)
	case err != nil:
		return wrong("dir", "%s cannot be used: %s", c.Dir, reason(err))
	case !info.IsDir():
		return wrong("dir", "must be a directory, which %s is not", c.Dir)
	}
	return nil
}
