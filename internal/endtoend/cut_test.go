package endtoend

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// The connection is lost at each byte of all that a call is made of: before it, within it, and right after it. The call
// ends well, and takes effect once.
func TestCutAtEachByte(t *testing.T) {
	t.Parallel()
	m := open(t, testbroker.URL(t))
	confirm, confirmBytes := confirmOfReply()
	var all sync.WaitGroup
	defer all.Wait()
	for _, tt := range []struct {
		name, at, method string
		dir              chaos.Direction
		last             int // its bytes, if it may come after the caller has the reply
	}{
		{"request", "client", "basic.publish", chaos.ToBroker, 0},
		{"request to the server", "server", "basic.deliver", chaos.ToClient, 0},
		{"reply", "server", "basic.publish", chaos.ToBroker, 0},
		{"reply to the client", "client", "basic.deliver", chaos.ToClient, 0},
		{"confirm of the reply", "server", confirm, chaos.ToClient, confirmBytes},
		{"acknowledgement of the request", "server", "basic.ack", chaos.ToBroker, ackBytes},
	} {
		all.Go(func() {
			t.Run(tt.name, func(t *testing.T) {
				n := newNetwork(t, m, 10*time.Second)
				p, _ := n.side(tt.at)
				step := 41
				if tt.last > 0 {
					step = 7
				}
				if os.Getenv("RABBITRPC_LONG") != "" {
					step = 1
				}
				x, cuts := 1, 0
				for at := 0; ; at += step {
					in := p.Inject(chaos.Cut{Method: tt.method, Nth: 1, Bytes: at, Dir: tt.dir})
					first := x
					for ; x < first+2 || tt.last > 0 && in.Bites() == 0 && at <= tt.last; x++ { // two, since the first may win the race with the cut
						if err := n.call(x, patience); err != nil {
							t.Fatalf("at byte %d: %v", at, err)
						}
						if got := n.effects(x); got != 1 {
							t.Fatalf("at byte %d: the handler ran %d times", at, got)
						}
					}
					in.Heal()
					if in.Bites() == 0 {
						break // that many bytes there are not
					}
					cuts++
				}
				if cuts == 0 {
					t.Error("nothing was cut")
				}
				t.Logf("%d cuts, up to byte %d", cuts, (cuts-1)*step)
			})
		})
	}
}

// confirmOfReply is the method after which a server acknowledges a request, and how many bytes it has.
func confirmOfReply() (method string, size int) {
	if os.Getenv("RABBITRPC_DATAPLANE") == "off" {
		return "basic.ack", ackBytes
	}
	return "basic.qos-ok", 12 // see conn.Message.ConfirmRouted
}

// ackBytes is how many bytes a basic.ack has.
const ackBytes = 21
