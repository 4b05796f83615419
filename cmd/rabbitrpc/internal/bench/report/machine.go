package report

import (
	"os"
	"runtime"
	"strings"
)

// A Machine is where it was measured, and with what.
type Machine struct {
	CPU        string `json:"cpu"` // empty if it is not known
	Processors int    `json:"processors"`
	System     string `json:"system"`
	Go         string `json:"go"`
	Load       string `json:"load"` // average of the last minute, before the first round; empty if it is not known
}

// ThisMachine returns what there is to know of this one.
func ThisMachine() Machine {
	m := Machine{Processors: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	info, _ := os.ReadFile("/proc/cpuinfo") // other systems don't have it
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load, _, _ = strings.Cut(string(load), " ")
	return m
}
