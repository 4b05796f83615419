// Package testbroker gives tests a real RabbitMQ broker. A package that uses it hands its TestMain to [Main].
package testbroker

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"go.uber.org/goleak"
)

// urlEnv names a broker that runs already, for the tests that don't break theirs.
const urlEnv = "RABBITRPC_TEST_URL"

const startTimeout = time.Minute // a start takes three seconds

var shared struct {
	sync.Mutex // guards what follows; others wait while the first starts the node
	node       *chaos.Node
	err        error
}

// Main runs the tests, ends the shared node if a test has started it, closes what else they share, fails if a goroutine
// is left, and exits.
func Main(m *testing.M, others ...func() error) {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.node != nil {
		code = fail(code, shared.node.Close())
	}
	for _, shut := range others {
		code = fail(code, shut())
	}
	if code == 0 { // a test that failed may well have left some
		code = fail(code, goleak.Find())
	}
	os.Exit(code)
}

func fail(code int, err error) int {
	if err == nil {
		return code
	}
	fmt.Fprintln(os.Stderr, err)
	return max(code, 1)
}

// URL returns the address of a broker that all tests of the package share: the one that RABBITRPC_TEST_URL names, else
// that of [Node].
func URL(tb testing.TB) string {
	tb.Helper()
	if url := os.Getenv(urlEnv); url != "" {
		return url
	}
	return Node(tb).URL()
}

// Node returns the node that all tests of the package share. Whoever changes a setting of it changes it back. It is
// for [OwnNode] to be broken. With RABBITRPC_TEST_URL there is none, and the test is skipped.
func Node(tb testing.TB) *chaos.Node {
	tb.Helper()
	if url := os.Getenv(urlEnv); url != "" {
		tb.Skipf("needs a node to control, and %s names one that is not ours", urlEnv)
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.node == nil && shared.err == nil { // once it has failed, the other tests need not wait for it
		shared.node, shared.err = start()
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.node
}

// OwnNode returns a node for tb alone, to stop, kill and pause. It is closed when tb ends.
func OwnNode(tb testing.TB, opts ...chaos.Option) *chaos.Node {
	tb.Helper()
	n, err := start(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.Close(); err != nil {
			tb.Error(err)
		}
	})
	return n
}

func start(opts ...chaos.Option) (*chaos.Node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return chaos.StartNode(ctx, opts...)
}
