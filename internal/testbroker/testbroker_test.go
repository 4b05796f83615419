package testbroker_test

import (
	"net"
	"net/url"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

func TestMain(m *testing.M) { testbroker.Main(m) }

func TestSharedNode(t *testing.T) {
	t.Setenv("RABBITRPC_TEST_URL", "")
	n := testbroker.Node(t)
	if again := testbroker.Node(t); again != n {
		t.Error("a second node was started")
	}
	addr := testbroker.URL(t)
	if addr != n.URL() {
		t.Errorf("URL is %s, want the shared node's %s", addr, n.URL())
	}
	reachable(t, addr)
}

func TestOwnNode(t *testing.T) {
	t.Setenv("RABBITRPC_TEST_URL", "")
	var own *chaos.Node
	lived := t.Run("lives", func(t *testing.T) {
		own = testbroker.OwnNode(t)
		if own == testbroker.Node(t) {
			t.Error("got the shared node")
		}
		reachable(t, own.URL())
	})
	if lived && own.Kill() == nil {
		t.Error("node outlived its test")
	}
}

func TestForeignBroker(t *testing.T) {
	t.Setenv("RABBITRPC_TEST_URL", "amqp://elsewhere")
	if got := testbroker.URL(t); got != "amqp://elsewhere" {
		t.Errorf("got %s, want the broker of RABBITRPC_TEST_URL", got)
	}
	t.Run("skipped", func(t *testing.T) {
		defer func() {
			if !t.Skipped() {
				t.Error("test of a node runs, though the broker is not ours")
			}
		}()
		testbroker.Node(t)
	})
}

func reachable(t *testing.T, addr string) {
	t.Helper()
	u, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
