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
	var all sync.WaitGroup
	defer all.Wait()
	for _, tt := range []struct {
		name, at, method string
		dir              chaos.Direction
		last             bool // of the call: it may come after the caller has the reply
	}{
		{"request", "client", "basic.publish", chaos.ToBroker, false},
		{"request to the server", "server", "basic.deliver", chaos.ToClient, false},
		{"reply", "server", "basic.publish", chaos.ToBroker, false},
		{"reply to the client", "client", "basic.deliver", chaos.ToClient, false},
		{"confirm of the reply", "server", "basic.ack", chaos.ToClient, true},
		{"acknowledgement of the request", "server", "basic.ack", chaos.ToBroker, true},
	} {
		all.Go(func() {
			t.Run(tt.name, func(t *testing.T) {
				n := newNetwork(t, m, 10*time.Second)
				p, _ := n.side(tt.at)
				step := 41
				if tt.last {
					step = 7
				}
				if os.Getenv("RABBITRPC_LONG") != "" {
					step = 1
				}
				x, cuts := 1, 0
				for at := 0; ; at += step {
					in := p.Inject(chaos.Cut{Method: tt.method, Nth: 1, Bytes: at, Dir: tt.dir})
					first := x
					for ; x < first+2 || tt.last && in.Bites() == 0 && at <= ackFrame; x++ { // two, since the first may win the race with the cut
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

// ackFrame is how many bytes a basic.ack has.
const ackFrame = 21
