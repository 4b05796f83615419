package worker

import (
	"runtime"
	"time"
)

// A Usage is what a process has used since its start.
type Usage struct {
	CPU    time.Duration // in user and system mode
	Allocs uint64        // objects
	Bytes  uint64        // of them
}

// Since returns what was used in between.
func (u Usage) Since(before Usage) Usage {
	return Usage{u.CPU - before.CPU, u.Allocs - before.Allocs, u.Bytes - before.Bytes}
}

func ownUsage() Usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{ownCPU(), m.Mallocs, m.TotalAlloc}
}

// A Memory is what a process holds, once the garbage is collected.
type Memory struct {
	Heap       uint64 // bytes in live objects
	Stacks     uint64 // bytes
	Goroutines int
}

func ownMemory() Memory {
	for range 2 { // what finalizers and pools have let go of is found the second time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Memory{m.HeapAlloc, m.StackInuse, runtime.NumGoroutine()}
}
