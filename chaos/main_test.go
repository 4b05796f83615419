package chaos_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" { // before the other: a child has the environment of who started it
		child()
	}
	for _, name := range []string{
		"RABBITMQ_NODENAME", "NODENAME", "RABBITMQ_CONFIG_FILE", "RABBITMQ_MNESIA_DIR", "HOME", "ERL_FLAGS", "PGDATA", "PGPORT",
	} {
		os.Setenv(name, "/not/for/our/servers")
	}
	if server, how, ok := strings.Cut(os.Getenv(crashEnv), ","); ok {
		crash(server, how)
	}
	goleak.VerifyTestMain(m)
}

const (
	patience = time.Minute             // for what takes seconds
	crashEnv = "RABBITRPC_CHAOS_CRASH" // makes the test binary a process that dies, in the way that it says
)

type pauser interface{ Pause() error }

var start = map[string]func(context.Context) (pauser, error){
	"node":                func(ctx context.Context) (pauser, error) { return chaos.StartNode(ctx) },
	"node in a namespace": func(ctx context.Context) (pauser, error) { return chaos.StartNode(ctx, chaos.InNamespace()) },
	"postgres":            func(ctx context.Context) (pauser, error) { return chaos.StartPostgres(ctx) },
	"process":             func(ctx context.Context) (pauser, error) { return chaos.StartProcess(ctx, childCommand()) },
	"cluster": func(ctx context.Context) (pauser, error) {
		c, err := chaos.StartCluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		return c.Nodes()[0], nil
	},
}

// crash starts a server and dies without closing it.
func crash(server, how string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := start[server](ctx)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if how == "paused" {
		s.Pause()
	}
	fmt.Println("ready")
	switch how {
	case "panic":
		panic("as told")
	case "exit":
		os.Exit(0)
	}
	time.Sleep(patience) // until it is killed
	os.Exit(1)
}

func startNode(t *testing.T, opts ...chaos.Option) *chaos.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := chaos.StartNode(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func ExampleStartNode() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, err := chaos.StartNode(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()

	out, err := node.Ctl(ctx, "eval", "rabbit:is_running().")
	fmt.Println(out, err)
	fmt.Println(node.Kill())
	fmt.Println(node.Kill())
	// Output:
	// true <nil>
	// <nil>
	// kill broker: it is down
}

func eventually(t *testing.T, failure string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(failure)
		}
	}
}
