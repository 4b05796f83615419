package chaos_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// needNamespace skips a test where there can be no namespace.
func needNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs the root user, for a network namespace")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: run scripts/install nftables iproute2", tool)
		}
	}
}

func TestNodeInNamespace(t *testing.T) {
	needNamespace(t)
	t.Parallel()
	n := startNode(t, chaos.InNamespace())
	if err := greet(n.URL(), patience); err != nil {
		t.Fatal(err)
	}
	if c, err := net.DialTimeout("tcp", "127.0.0.1:5672", time.Second); err == nil {
		c.Close()
		t.Error("the port of the node is open outside of its namespace")
	}
	t.Run("new connections dropped", func(t *testing.T) { testDropSYN(t, n) })
	t.Run("packets lost", func(t *testing.T) { testLoss(t, n) })
	t.Run("lives again", func(t *testing.T) {
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := greet(n.URL(), patience); err != nil {
			t.Error(err)
		}
	})
}

func testDropSYN(t *testing.T, n *chaos.Node) {
	c := dialNode(t, n)
	if err := say(c, greeting); err != nil {
		t.Fatal(err)
	}
	f, err := n.DropSYN()
	if err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if err := greet(n.URL(), 300*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("new connection: got %v, want a timeout", err)
	}
	if err := say(c, string(startOK("old"))); err != nil {
		t.Errorf("old connection: %v", err)
	}
	wantDropped(t, f)
	if err := greet(n.URL(), patience); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func testLoss(t *testing.T, n *chaos.Node) {
	f, err := n.Loss(30)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		err := say(dialNode(t, n), greeting)
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) { // RabbitMQ hangs up on a greeting that takes ten seconds
			err = say(dialNode(t, n), greeting)
		}
		if err != nil {
			t.Errorf("a third of the packets is lost: %v", err)
		}
	}
	wantDropped(t, f)
	for _, percent := range []int{0, 101} {
		if _, err := n.Loss(percent); err == nil {
			t.Errorf("%d%% of the packets: no error", percent)
		}
	}
}

// wantDropped heals f, which must have bitten.
func wantDropped(t *testing.T, f *chaos.Filter) {
	t.Helper()
	before, err := f.Dropped()
	if err != nil || before == 0 {
		t.Errorf("%v: dropped %d packets (%v), want some", f, before, err)
	}
	for range 2 {
		if err := f.Heal(); err != nil {
			t.Error(err)
		}
	}
	if after, err := f.Dropped(); after < before || err != nil {
		t.Errorf("%v: dropped %d packets (%v) after %d", f, after, err, before)
	}
}

// say sends something to a broker, and waits for its answer.
func say(c net.Conn, what string) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(what)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1000))
	return err
}

func dialNode(t *testing.T, n *chaos.Node) net.Conn {
	t.Helper()
	u, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// No thread of this process is left in a namespace, however many have been there.
func TestThreadsComeBack(t *testing.T) {
	needNamespace(t)
	n := startNode(t, chaos.InNamespace())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { greet(n.URL(), patience) })
	}
	wg.Wait()
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range inFolder("/proc/self/task", "*") {
		// A thread that is about to end is in none.
		if at, err := os.Readlink(thread + "/ns/net"); err == nil && at != home {
			t.Errorf("%s is in %s, want %s", thread, at, home)
		}
	}
}

func TestOutsideOfNamespace(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	if n.Proxy() != nil {
		t.Error("got a proxy, want none")
	}
	if _, err := n.Loss(30); err == nil || !strings.Contains(err.Error(), "InNamespace") {
		t.Errorf("Loss: got %v, want what to do", err)
	}
	if _, err := n.DropSYN(); err == nil {
		t.Error("DropSYN: no error")
	}
}

// Who may not make a namespace is told so, and nothing is left.
func TestNoRightForNamespace(t *testing.T) {
	needNamespace(t)
	temp := openTemp(t)
	cmd := exec.Command("setpriv", "--bounding-set=-sys_admin", os.Args[0])
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, crashEnv+"=node in a namespace,exit")
	out, err := cmd.Output()
	if want := chaos.ErrNoNamespace.Error(); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("got %s (%v), want %s", out, err, want)
	}
	wantEmpty(t, temp)
}
