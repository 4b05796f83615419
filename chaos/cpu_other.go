//go:build !linux

package chaos

import (
	"errors"
	"time"
)

func groupCPU(int) (time.Duration, error) {
	return 0, errors.New("what processor time another process has used is known on Linux only")
}
