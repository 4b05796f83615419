package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

func mute(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mute QUEUE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	ts.Defer(cancel)
	m, err := conn.Open(ctx, ts.Getenv("RABBITMQ_URL"), conn.WithLogger(slog.New(slog.DiscardHandler)))
	ts.Check(err)
	ts.Defer(func() { m.Close(ctx) })
	s, err := m.Session(ctx)
	ts.Check(err)
	q, err := s.DeclareQueue(ctx, conn.Queue{Name: args[0], AutoDelete: true})
	ts.Check(err)
	_, err = s.Consume(ctx, conn.Consume{Queue: q.Name, NoAck: true}, func(*conn.Delivery) {})
	ts.Check(err)
}

// eventually is for what takes its time on a machine that has much to do: to come, or to be heard of in half a second.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: eventually COUNT PATTERN PROGRAM [ARG...]")
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	for end := time.Now().Add(patience); ; {
		err := ts.Exec(args[2], args[3:]...)
		if found := len(pattern.FindAllString(ts.ReadFile("stdout"), -1)); err == nil && strconv.Itoa(found) == args[0] {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("not %s times %s, in the end: %v", args[0], args[1], err)
		}
	}
}

func listen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: listen")
	}
	l, err := net.Listen("tcp", ts.Getenv("LATER"))
	ts.Check(err)
	broker := ts.Getenv("ADDR")
	accept(ts, l, func(ctx context.Context, c net.Conn) { forward(ctx, c, broker) })
}

// forward connects c with addr until either end closes, or ctx ends.
func forward(ctx context.Context, c net.Conn, addr string) {
	defer c.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, way := range [...][2]net.Conn{{c, to}, {to, c}} {
		wg.Go(func() {
			io.Copy(way[0], way[1])
			cancel()
		})
	}
	<-ctx.Done()
	c.Close()
	to.Close()
	wg.Wait()
}

func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: gone")
	}
	left := func() (names []string) {
		files, err := filepath.Glob(filepath.Join(ts.Getenv("TMPDIR"), "*"))
		ts.Check(err)
		return append(files, processes(ts.MkAbs("."))...)
	}
	for deadline := time.Now().Add(patience); len(left()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("left over: %q", left())
		}
	}
}

func swept(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: swept TEXT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	node := testbroker.Node(ts.Value(testKey{}).(*testing.T))
	for deadline := time.Now().Add(patience / 2); ; {
		in, err := node.Inventory(ctx)
		ts.Check(err)
		queues := slices.Sorted(maps.Keys(in.Queues))
		if !slices.ContainsFunc(queues, func(name string) bool { return strings.Contains(name, args[0]) }) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("left over: %q", queues)
		}
	}
}

// processes returns the command lines of the processes that have dir in their environment: those that the script has
// started, and theirs. It knows that on Linux only.
func processes(dir string) (found []string) {
	if runtime.GOOS != "linux" {
		return nil
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		environment, err := os.ReadFile(filepath.Join(p, "environ"))
		if err != nil || !bytes.Contains(environment, []byte(dir)) {
			continue // it has ended, or is not ours to look at
		}
		line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return found
}
