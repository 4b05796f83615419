//go:build !unix

package execrpc

import (
	"errors"
	"os/exec"
	"time"
)

func supported() error { return errors.New("programs can be served on Unix systems only") }

type group struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

func startGroup(*exec.Cmd) (*group, error) { return nil, errors.ErrUnsupported }

func (g *group) stop(time.Duration) {}
