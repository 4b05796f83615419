package endtoend

import (
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// SIGTERM to one of two servers, again and again, under load: no caller sees an error.
func TestDrainUnderLoad(t *testing.T) {
	url := testbroker.URL(t)
	m := open(t, url)
	method := service(t, m)
	c := newClient(t, m, client.WithTimeout(30*time.Second))
	sp := spec{URL: url, Service: method.Service, Work: 5 * time.Millisecond}
	leaver, other := start(t, sp), start(t, sp)
	more, stop := underLoad(t, c, method, 64)
	drains := times(t, 5)
	for range drains {
		more()
		must(t, leaver.Process.Signal(syscall.SIGTERM))
		leaver.wait()
		if leaver.err != nil {
			t.Errorf("server process ended with %v", leaver.err)
		}
		leaver, other = other, start(t, sp)
	}
	t.Logf("%d drains, %d calls, all ok", drains, stop())
}
