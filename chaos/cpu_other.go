//go:build !linux

package chaos

import (
	"errors"
	"time"
)

func groupCPU(int) (time.Duration, error) {
	return 0, errors.ErrUnsupported
}
