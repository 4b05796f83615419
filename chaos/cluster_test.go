package chaos_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// needCluster skips a test that starts three brokers, unless such were asked for.
func needCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("RABBITRPC_CLUSTER") == "" {
		t.Skip("starts a cluster: run make chaos-cluster")
	}
}

func TestCluster(t *testing.T) {
	needCluster(t)
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	start := time.Now()
	c, err := chaos.StartCluster(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(start))
	t.Cleanup(func() {
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	a, b := c.Nodes()[0], c.Nodes()[1]
	for _, url := range c.URLs() {
		if err := greet(url, patience); err != nil {
			t.Error(err)
		}
	}
	if others := c.Others(b); len(others) != 2 || slices.Contains(others, b) {
		t.Errorf("others than %v are %v", b, others)
	}
	if err := a.AddVhost(ctx, "shared"); err != nil {
		t.Fatal(err)
	}
	knows := func(n *chaos.Node, others int) func() bool {
		return func() bool {
			seen, err := c.Sees(ctx, n)
			return err == nil && len(seen) == others
		}
	}
	if !knows(a, 2)() {
		t.Fatal("the first node does not know two others")
	}
	t.Run("home of a queue", func(t *testing.T) {
		declare(t, session(t, b.URL()), "at b", 1)
		if home, err := c.Home(ctx, "at b", a); home != b || err != nil {
			t.Errorf("got %v, %v, want the second node", home, err)
		}
		if home, err := c.Home(ctx, "nowhere", a); err == nil {
			t.Errorf("queue that there is not: got %v", home)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		f, err := c.CutOff(a)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		eventually(t, "the others do not miss the node", knows(b, 1))
		eventually(t, "it takes clients in its minority", func() bool { return greet(a.URL(), time.Second) != nil })
		if err := greet(b.URL(), patience); err != nil {
			t.Errorf("majority: %v", err)
		}
		t.Logf("noticed in %v", time.Since(start))
		if n, err := f.Dropped(); n == 0 || err != nil {
			t.Errorf("dropped %d packets (%v), want some", n, err)
		}
		start = time.Now()
		if err := c.Heal(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the node does not come back", func() bool { return greet(a.URL(), time.Second) == nil })
		eventually(t, "the others do not find it", knows(b, 2))
		t.Logf("healed in %v", time.Since(start))
	})
	t.Run("cut one way", func(t *testing.T) {
		if _, err := c.CutOneWay(c.Nodes()[2], b); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nobody notices", knows(b, 1))
		if err := c.Heal(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "they do not find each other again", knows(b, 2))
	})
	t.Run("rolling restart", func(t *testing.T) {
		start := time.Now()
		if err := c.RollingRestart(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("took %v", time.Since(start))
		for _, n := range c.Nodes() {
			if err := greet(n.URL(), patience); err != nil {
				t.Error(err)
			}
		}
		if !knows(a, 2)() {
			t.Error("the cluster is not whole")
		}
	})
	t.Run("restore", func(t *testing.T) {
		_, err := c.CutOff(a)
		if err := errors.Join(err, b.Kill(), c.Nodes()[2].Pause()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := c.Restore(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("took %v", time.Since(start))
		for _, n := range c.Nodes() {
			if err := greet(n.URL(), patience); err != nil || !knows(n, 2)() {
				t.Errorf("%v, or it does not see two others", err)
			}
		}
	})
}

func TestClusterSize(t *testing.T) {
	for _, n := range []int{0, 27} {
		if _, err := chaos.StartCluster(t.Context(), n); err == nil {
			t.Errorf("a cluster of %d nodes: no error", n)
		}
	}
}
