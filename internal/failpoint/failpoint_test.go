package failpoint

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("RABBITRPC_FAILPOINT_CHILD") != "" {
		runtime.LockOSThread() // so that a point is passed in another thread than the first, which takes the signals
		passed := make(chan struct{})
		go func() {
			Hit("first")
			os.Stdout.WriteString("passed once\n")
			Hit("first")
			os.Stdout.WriteString("passed twice\n")
			close(passed)
		}()
		<-passed
		return
	}
	os.Exit(m.Run())
}

func TestHit(t *testing.T) {
	for _, tt := range []struct{ orders, printed, end string }{
		{"", "passed once\npassed twice\n", ""},
		{"another=kill", "passed once\npassed twice\n", ""},
		{"first=kill", "", "signal: killed"},
		{"another=panic,first=kill@2", "passed once\n", "signal: killed"},
		{"first=kill@3", "passed once\npassed twice\n", ""},
		{"first=panic", "", "exit status 2"},
		{"first=fly", "", "exit status 2"},
	} {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), "RABBITRPC_FAILPOINT_CHILD=1", Env+"="+tt.orders)
		out, err := c.Output()
		end := ""
		if err != nil {
			end = err.Error()
		}
		if string(out) != tt.printed || end != tt.end {
			t.Errorf("%q: printed %q and ended with %q, want %q and %q", tt.orders, out, end, tt.printed, tt.end)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ orders, want string }{
		{"claimed", "is not point=action"},
		{"claimed=fly", "is not kill, freeze, panic or hang"},
		{"claimed=kill@0", "is not a number from 1"},
		{"claimed=kill@x", "is not a number from 1"},
		{"claimed=kill,", "is not point=action"},
	} {
		if _, err := parse(tt.orders); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q", tt.orders, err, tt.want)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	for b.Loop() {
		Hit("first")
	}
}
