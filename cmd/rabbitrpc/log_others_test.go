package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/httprpc"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// TestOthersLog: net/http complains of an upstream that sends more than its answer. That is a line of the log, without what it has
// sent.
func TestOthersLog(t *testing.T) {
	var out testlog.Log
	log, err := newLogger(&out, "info")
	must(t, err)
	flags, w := stdlog.Flags(), stdlog.Writer()
	takeOver(log)
	defer func() { stdlog.SetFlags(flags); stdlog.SetOutput(w) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan struct{})
	defer func() { l.Close(); <-served }()
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, r.Body)
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1topsecret")
		io.Copy(io.Discard, c)
	}()
	u, err := httprpc.New(&httprpc.Config{URL: config.URL("http://" + l.Addr().String()), Names: []string{"m"}}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer u.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = u.Handle(ctx, &rpc.Request{})
	must(t, err)
	for !strings.Contains(out.String(), "\n") && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	var line struct{ Level, Msg string }
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || line.Level != "warn" || !strings.Contains(line.Msg, "Unsolicited response") {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if strings.Contains(out.String(), "topsecret") {
		t.Errorf("what it has sent is in the log: %s", out.String())
	}
}
