package chaos

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// Ctl runs rabbitmqctl on the node and returns what it prints, without spaces around it. The error holds all its output.
func (n *Node) Ctl(ctx context.Context, args ...string) (string, error) {
	cmd := n.guard.command(n.env, n.install.ctl, append([]string{"--quiet"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.WaitDelay = time.Second // a grandchild that holds on to its output must not hold us
	p, err := n.guard.start(cmd)
	if err == nil {
		select {
		case <-p.done:
			err = p.err
		case <-ctx.Done():
			p.kill()
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return "", fmt.Errorf("rabbitmqctl %s: %w\n%s%s", strings.Join(args, " "), err, out.Bytes(), complaints.Bytes())
	}
	return strings.TrimSpace(out.String()), nil
}
