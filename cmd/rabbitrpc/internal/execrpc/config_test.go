//go:build unix

package execrpc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*execrpc.Config)
		want   string // "" if it is right
	}{
		{"program", func(*execrpc.Config) {}, ""},
		{"no command", func(c *execrpc.Config) { c.Command = nil }, "command: is missing"},
		{"method in a worker's arguments", func(c *execrpc.Config) { c.Pool, c.Command = 1, []string{c.Command[0], "--{method}"} }, "command: must not have {method}"},
		{"method in a program's arguments", func(c *execrpc.Config) { c.Command = []string{c.Command[0], "--{method}"} }, ""},
		{"no methods", func(c *execrpc.Config) { c.Names = nil }, "methods: is missing"},
		{"bad method", func(c *execrpc.Config) { c.Names = []string{"a b"} }, "methods: method name"},
		{"reserved method", func(c *execrpc.Config) { c.Names = []string{"rpc.ping"} }, "methods: rpc.ping is reserved"},
		{"method twice", func(c *execrpc.Config) { c.Names = []string{"a", "a"} }, "methods: a is there twice"},
		{"relative path", func(c *execrpc.Config) { c.Command = []string{"bin/orders"} }, `must begin with an absolute path, got "bin/orders"`},
		{"name", func(c *execrpc.Config) { c.Command = []string{"sh"} }, "absolute path, such as /"},
		{"missing", func(c *execrpc.Config) { c.Command = []string{"/does/not/exist"} }, "command: /does/not/exist cannot be run: no such file or directory"},
		{"not executable", func(c *execrpc.Config) { c.Command = []string{plain} }, "plain cannot be run: permission denied"},
		{"directory", func(c *execrpc.Config) { c.Command = []string{dir} }, "is a directory"},
		{"NUL", func(c *execrpc.Config) { c.Command = append(c.Command, "a\x00b") }, "NUL byte"},
		{"too many workers", func(c *execrpc.Config) { c.Pool = 1001 }, "pool: must be 0"},
		{"negative workers", func(c *execrpc.Config) { c.Pool = -1 }, "pool: must be 0"},
		{"missing dir", func(c *execrpc.Config) { c.Dir = "/does/not/exist" }, "dir: /does/not/exist cannot be used: no such"},
		{"relative dir", func(c *execrpc.Config) { c.Dir = "." }, "dir: must be an absolute path"},
		{"dir that is a file", func(c *execrpc.Config) { c.Dir = plain }, "must be a directory"},
		{"env", func(c *execrpc.Config) { c.Env = map[string]config.Hidden{"A": "b"} }, ""},
		{"env without a name", func(c *execrpc.Config) { c.Env = map[string]config.Hidden{"": "b"} }, "names of variables"},
		{"env with a value in its name", func(c *execrpc.Config) { c.PassEnv = []string{"A=b"} }, "names of variables"},
		{"env with NUL", func(c *execrpc.Config) { c.Env = map[string]config.Hidden{"A": "secret\x00"} }, "env.A: must not contain a NUL"},
		{"reply type", func(c *execrpc.Config) { c.ReplyType = strings.Repeat("x", 256) }, "reply_type: must have at most 255 bytes"},
		{"reply", func(c *execrpc.Config) { c.MaxReply = -1 }, "max_reply: must be 1 to"},
		{"grace", func(c *execrpc.Config) { c.Grace = time.Hour }, "grace: must be 1ms to 1m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := execrpc.Config{Command: []string{"/bin/sh"}, Names: []string{"m"}}
			c.change(&cfg)
			err := cfg.Check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells: %v", err)
			}
		})
	}
}

// Who ends the daemon has to wait for the grace of its programs.
func TestClosing(t *testing.T) {
	var kind config.Kind = &execrpc.Config{Grace: 7 * time.Second}
	if c, ok := kind.(interface{ Closing() time.Duration }); !ok || c.Closing() != 7*time.Second {
		t.Error("does not say its grace")
	}
	if got := (&execrpc.Config{}).Closing(); got != 2*time.Second {
		t.Errorf("got %v, want the default", got)
	}
}
