//go:build !unix

package worker

import "time"

// ownCPU is not known here.
func ownCPU() time.Duration { return 0 }
