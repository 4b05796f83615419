// Package conformance tests that a [conn.Connector] does what its interfaces promise and what RabbitMQ does. It runs
// against the real broker and against conntest, so that what a test sees there holds here.
//
// Queues and routing keys have names of their own and are cleaned up; cases can run at the same time.
package conformance

import (
	"slices"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

type testCase struct {
	name string
	run  func(t *testing.T, a, b *peer)
}

// Run runs the suite. open returns two connectors to the same broker, new for each case; it cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) (a, b conn.Connector)) {
	for _, c := range slices.Concat(exchanges, publishing, queues, consuming, expiring, deadLetters, sessions) {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			c.run(t, dial(t, a), dial(t, b))
		})
	}
}
