package chaos_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

func TestCPUTime(t *testing.T) {
	p := startProcess(t, chaos.Command{Args: []string{"/bin/sh", "-c", "while :; do :; done"}})
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		used, err := p.CPUTime()
		if err != nil {
			t.Fatal(err)
		}
		if used >= 50*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a busy process has used %v in %v", used, patience)
		}
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.CPUTime(); !errors.Is(err, chaos.ErrDown) {
		t.Errorf("of a process that is gone: got %v, want %v", err, chaos.ErrDown)
	}
}
