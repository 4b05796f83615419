package execrpc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
)

func TestValidate(t *testing.T) {
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
		{"no command", func(c *execrpc.Config) { c.Command = nil }, "command is empty"},
		{"relative path", func(c *execrpc.Config) { c.Command = []string{"bin/orders"} }, `must begin with an absolute path, got "bin/orders"`},
		{"name", func(c *execrpc.Config) { c.Command = []string{"sh"} }, "absolute path, such as /"},
		{"missing", func(c *execrpc.Config) { c.Command = []string{"/does/not/exist"} }, "no such file"},
		{"not executable", func(c *execrpc.Config) { c.Command = []string{plain} }, "permission denied"},
		{"directory", func(c *execrpc.Config) { c.Command = []string{dir} }, "is a directory"},
		{"NUL", func(c *execrpc.Config) { c.Command = append(c.Command, "a\x00b") }, "NUL byte"},
		{"too many workers", func(c *execrpc.Config) { c.Workers = 1001 }, "workers must be 0"},
		{"negative workers", func(c *execrpc.Config) { c.Workers = -1 }, "workers must be 0"},
		{"missing dir", func(c *execrpc.Config) { c.Dir = "/does/not/exist" }, "dir cannot be used"},
		{"relative dir", func(c *execrpc.Config) { c.Dir = "." }, "dir must be an absolute path"},
		{"dir that is a file", func(c *execrpc.Config) { c.Dir = plain }, "must be a directory"},
		{"env", func(c *execrpc.Config) { c.Env = map[string]string{"A": "b"} }, ""},
		{"env without a name", func(c *execrpc.Config) { c.Env = map[string]string{"": "b"} }, "names of variables"},
		{"env with a value in its name", func(c *execrpc.Config) { c.PassEnv = []string{"A=b"} }, "names of variables"},
		{"env with NUL", func(c *execrpc.Config) { c.Env = map[string]string{"A": "secret\x00"} }, "which A does"},
		{"reply type", func(c *execrpc.Config) { c.ReplyType = strings.Repeat("x", 256) }, "reply_type must have at most 255 bytes"},
		{"reply", func(c *execrpc.Config) { c.MaxReply = -1 }, "max_reply must be 1 to"},
		{"grace", func(c *execrpc.Config) { c.Grace = time.Hour }, "grace must be 1ms to 1m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := execrpc.Config{Command: []string{"/bin/sh"}}
			c.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells: %v", err)
			}
		})
	}
}
