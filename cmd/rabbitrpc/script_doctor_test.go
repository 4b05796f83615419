package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testcert"
)

// queue declares a durable queue as somebody might who knows nothing of this protocol.
func queue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: queue NAME [ARGUMENT=VALUE...]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, done, err := sessionOf(ctx, ts.Getenv("RABBITMQ_URL"))
	ts.Check(err)
	defer done()
	arguments := make(map[string]any)
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		arguments[name] = value
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			arguments[name] = n
		}
	}
	_, err = s.DeclareQueue(ctx, conn.Queue{Name: args[0], Durable: true, Args: arguments})
	ts.Check(err)
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s, done, err := sessionOf(ctx, ts.Getenv("RABBITMQ_URL"))
		ts.Check(err)
		defer done()
		ts.Check(s.DeleteQueue(ctx, args[0]))
	})
}

// alarm makes the broker low on memory, until the script ends or it is told so.
func alarm(ts *testscript.TestScript, neg bool, args []string) {
	set := func(mark string) {
		_, err := testbroker.Node(ts.Value(testKey{}).(*testing.T)).Ctl(context.Background(), "set_vm_memory_high_watermark", mark)
		ts.Check(err)
	}
	switch {
	case neg:
		set("0.4")
	case len(args) == 0:
		set("0.0000001")
		ts.Defer(func() { set("0.4") })
	default:
		ts.Fatalf("usage: [!] alarm")
	}
}

// secure listens with TLS, for the broker, at $TLS; its authority is the file ca.pem, and its certificate ends in so many days.
func secure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: secure DAYS")
	}
	days, err := strconv.Atoi(args[0])
	ts.Check(err)
	a, err := testcert.NewAuthority(ts.MkAbs("."), "ca")
	ts.Check(err)
	cert, key, err := a.Issue(testcert.Request{Name: "broker", NotAfter: time.Now().Add(time.Duration(days)*24*time.Hour + time.Minute)})
	ts.Check(err)
	pair, err := tls.LoadX509KeyPair(cert, key)
	ts.Check(err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	ts.Check(err)
	broker := ts.Getenv("ADDR")
	ts.Setenv("TLS", fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port))
	accept(ts, l, func(ctx context.Context, c net.Conn) { forward(ctx, c, broker) })
}

// ancient listens at $ANCIENT as a broker of that version, which lets everybody in and then hangs up.
func ancient(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ancient VERSION")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("ANCIENT", l.Addr().String())
	accept(ts, l, func(_ context.Context, c net.Conn) { beAncient(c, args[0]) })
}

// silent listens at $SILENT and never says anything.
func silent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: silent")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("SILENT", l.Addr().String())
	accept(ts, l, func(_ context.Context, c net.Conn) { io.Copy(io.Discard, c) })
}

// accept serves connections until the script ends.
func accept(ts *testscript.TestScript, l net.Listener, serve func(context.Context, net.Conn)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				serve(ctx, c)
			})
		}
	})
	ts.Defer(func() {
		l.Close()
		cancel()
		wg.Wait()
	})
}

// beAncient is the broker's side of a handshake: AMQP 0-9-1, section 2.2.4.
func beAncient(c net.Conn, version string) {
	long := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	field := func(name, value string) string { return string(rune(len(name))) + name + "S" + long(value) }
	properties := field("product", "RabbitMQ") + field("version", version)
	start := "\x00\x0a\x00\x0a\x00\x09" + long(properties) + long("PLAIN") + long("en_US")
	tune := "\x00\x0a\x00\x1e" + "\x00\x00" + "\x00\x02\x00\x00" + "\x00\x3c"
	openOK := "\x00\x0a\x00\x29\x00"
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
		return
	}
	for _, step := range []struct {
		say  string
		hear int // frames
	}{{start, 1}, {tune, 2}, {openOK, 1}} {
		frame := "\x01\x00\x00" + long(step.say) + "\xce"
		if _, err := io.WriteString(c, frame); err != nil {
			return
		}
		for range step.hear {
			head := make([]byte, 7)
			if _, err := io.ReadFull(c, head); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[3:]))+1); err != nil {
				return
			}
		}
	}
}
