package httprpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/httprpc"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged is a log to look at.
type logged = testlog.Log

// upstream makes one for a URL, and closes it when t ends.
func upstream(t *testing.T, url string, change func(*httprpc.Config)) (*httprpc.Upstream, *logged) {
	t.Helper()
	cfg := httprpc.Config{URL: config.URL(url), Names: []string{"m"}}
	if change != nil {
		change(&cfg)
	}
	log := &logged{}
	u, err := httprpc.New(&cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u, log
}

// serve starts a server, and makes an upstream for it.
func serve(t *testing.T, h http.HandlerFunc, change func(*httprpc.Config)) (*httprpc.Upstream, *httptest.Server) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, _ := upstream(t, s.URL, change)
	return u, s
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// check compares an error with what it must be. In doubt, the server says unknown; if that is not said, yes.
func check(t *testing.T, err error, code rpc.Code, message string, executed rpc.Execution) *rpc.Error {
	t.Helper()
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, message) || said(err) != executed {
		t.Fatalf("got %#v, want %v with %q, executed %v", err, code, message, executed)
	}
	return e
}

func said(err error) rpc.Execution {
	switch x := rpc.Executed(err); {
	case x == rpc.ExecutedUnknown && !errors.Is(err, rpc.ErrInDoubt):
		return rpc.ExecutedYes
	default:
		return x
	}
}
