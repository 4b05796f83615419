package endtoend

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A server is frozen at each point of a call for longer than the broker and the store wait for it, another takes over, and
// the first wakes up again: still one effect, and one answer.
func TestFrozenAtEachPoint(t *testing.T) {
	url := testbroker.URL(t)
	m := open(t, url)
	sp := stores(t, url)[2]
	sp.Heartbeat = time.Second
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			sp := sp
			sp.Service = service(t, m).Service
			method := rpc.Method[string, string]{Service: sp.Service, Name: "effect"}
			c := newClient(t, m, client.WithName("caller"), client.WaitForServer(), client.WithTimeout(60*time.Second), client.WithoutBreaker())
			for i := range times(t, 1) {
				id := fmt.Sprintf("%s-%d", point, i)
				armed := sp
				armed.Failpoints = point + "=freeze"
				zombie := start(t, armed)
				done := make(chan made, 1)
				go func() {
					reply, err := client.Call(t.Context(), c, method, id, client.WithCallID(id))
					done <- made{reply, err}
				}()
				wait(t, "the server to freeze", func() bool { return stopped(t, zombie.Process.Pid) })
				next := start(t, sp)
				one := <-done
				must(t, zombie.Process.Signal(syscall.SIGCONT))
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				two, err := client.Call(ctx, c, method, id, client.WithCallID(id))
				cancel()
				zombie.stop()
				next.stop()
				if one.err != nil || err != nil || one.reply != two {
					t.Errorf("%s: %q, %v and %q, %v, want the same reply", id, one.reply, one.err, two, err)
				}
				if n := len(sp.effects(t, id)); n != 1 {
					t.Errorf("%s: %d effects, want 1", id, n)
				}
			}
		})
	}
}

// stopped reports whether a process was stopped by a signal.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, after, _ := strings.Cut(string(stat), ") ") // after the name, which may hold anything
	return strings.HasPrefix(after, "T")
}
