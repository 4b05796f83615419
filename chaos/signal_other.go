//go:build !unix

package chaos

import (
	"errors"
	"syscall"
)

type signal int

const (
	terminate signal = iota
	kill
	pause
	resume
)

func ownGroup() *syscall.SysProcAttr { return nil }

func signalGroup(int, signal) error { return errors.ErrUnsupported }
