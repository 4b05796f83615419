package execrpc_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// TestWorkerEndsWithoutReading: a request that is all in the pipe still was not executed, and nobody can read it any more.
func TestWorkerEndsWithoutReading(t *testing.T) {
	const unread, failed = "worker ended before it read the request", "worker failed before it answered"
	for _, c := range []struct {
		name    string
		body    int
		args    []string
		message string
	}{
		{"nothing", 1, []string{"0"}, unread},
		{"nothing of more than a pipe holds", 1 << 20, []string{"0"}, unread},
		{"a byte", 1, []string{"1"}, failed},
		{"a byte of more than a pipe holds", 1 << 20, []string{"1"}, failed},
		{"nothing yet: somebody else can", 1, []string{"0", "child"}, failed},
		{"nothing yet of more than a pipe holds: somebody else can", 1 << 20, []string{"0", "child"}, failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(c.args) > 1 {
				c.args[1] = filepath.Join(t.TempDir(), "pid")
				defer killed(t, c.args[1])
			}
			u, _ := serve(t, func(c *execrpc.Config) { c.Pool = 1 }, "peek", c.args...)
			_, err := u.Handle(within(t, patience), &rpc.Request{Body: []byte(strings.Repeat("x", c.body))})
			if c.message == unread {
				check(t, err, rpc.Unavailable, unread, rpc.ExecutedNo, false)
			} else {
				check(t, err, rpc.Internal, failed, rpc.ExecutedUnknown, true)
			}
		})
	}
}
