//go:build !unix

package chaos

import (
	"errors"
	"syscall"
)

type signal int

const (
	interrupt signal = iota
	terminate
	kill
	pause
	resume
)

func ownGroup(*account) *syscall.SysProcAttr { return nil }

func signalGroup(int, signal) error { return errors.ErrUnsupported }

func signalProcess(int, signal) error { return errors.ErrUnsupported }
