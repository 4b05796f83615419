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
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Config says which program answers, and within which bounds. Zero values are the defaults.
type Config struct {
	// Command is the absolute path of the program, and its arguments. No shell reads it.
	Command []string `koanf:"command"`

	// Workers is how many long-lived workers there are, 1 to 1000; 0 starts the program for each call.
	Workers int `koanf:"workers"`

	// Dir is the absolute path of the working directory. Default: that of this process.
	Dir string `koanf:"dir"`

	// Env is what the program gets beside what its call gives it. Of this process's environment it gets PATH alone, and what
	// PassEnv names.
	Env     map[string]string `koanf:"env"`
	PassEnv []string          `koanf:"pass_env"`

	// ReplyType is the content type of replies. Default application/json. Workers may say another for each reply.
	ReplyType string `koanf:"reply_type"`

	// MaxReply is how many bytes a reply may have: 1 to 512 MiB, default 4 MiB.
	MaxReply int `koanf:"max_reply"`

	// Grace is the time between SIGTERM and SIGKILL: 1ms to 1m, default 2s.
	Grace time.Duration `koanf:"grace"`
}

const (
	maxWorkers = 1000
	maxReply   = 512 << 20 // RabbitMQ takes no more, however it is set up
	maxGrace   = time.Minute
)

// Validate reports what of the configuration cannot work on this machine.
func (c Config) Validate() error {
	_, err := c.withDefaults()
	return err
}

// withDefaults returns the configuration with its defaults, or an error for what cannot work.
func (c Config) withDefaults() (Config, error) {
	if c.ReplyType == "" {
		c.ReplyType = rpc.ContentTypeJSON
	}
	if c.MaxReply == 0 {
		c.MaxReply = 4 << 20
	}
	if c.Grace == 0 {
		c.Grace = 2 * time.Second
	}
	switch {
	case c.Workers < 0 || c.Workers > maxWorkers:
		return c, fmt.Errorf("workers must be 0, for a program for each call, or 1 to %d, got %d", maxWorkers, c.Workers)
	case len(c.ReplyType) > 255:
		return c, fmt.Errorf("reply_type must have at most 255 bytes, got %d", len(c.ReplyType))
	case c.MaxReply < 1 || c.MaxReply > maxReply:
		return c, fmt.Errorf("max_reply must be 1 to %d, got %d", maxReply, c.MaxReply)
	case c.Grace < time.Millisecond || c.Grace > maxGrace:
		return c, fmt.Errorf("grace must be 1ms to %v, got %v", maxGrace, c.Grace)
	}
	if err := c.checkCommand(); err != nil {
		return c, err
	}
	if err := c.checkDir(); err != nil {
		return c, err
	}
	return c, c.checkEnv()
}

func (c *Config) checkCommand() error {
	if len(c.Command) == 0 || c.Command[0] == "" {
		return fmt.Errorf("command is empty: it is to be the absolute path of a program, and its arguments")
	}
	program := c.Command[0]
	if !filepath.IsAbs(program) {
		hint := ""
		if found, err := exec.LookPath(program); err == nil && filepath.IsAbs(found) {
			hint = ", such as " + found
		}
		return fmt.Errorf("command must begin with an absolute path%s, got %q", hint, program)
	}
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("command cannot be run: %w", err)
	}
	for _, arg := range c.Command {
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("command must not contain a NUL byte, got %q", arg)
		}
	}
	return nil
}

func (c *Config) checkDir() error {
	if c.Dir == "" {
		return nil
	}
	info, err := os.Stat(c.Dir)
	switch {
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("dir must be an absolute path, got %q", c.Dir)
	case err != nil:
		return fmt.Errorf("dir cannot be used: %w", err)
	case !info.IsDir():
		return fmt.Errorf("dir must be a directory, which %s is not", c.Dir)
	}
	return nil
}
