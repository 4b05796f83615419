package daemon_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/daemon"
)

// silent is a PostgreSQL that takes a login, and is frozen then.
type silent struct {
	url   string
	asked chan struct{} // gets something when it is asked for more
}

func silentPostgres(t *testing.T) *silent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &silent{"postgres://me@" + l.Addr().String() + "/calls?sslmode=disable", make(chan struct{}, 100)}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); s.answer(c) })
		}
	})
	return s
}

func (s *silent) answer(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if b.Flush() != nil {
		return
	}
	for {
		if _, err := b.Receive(); err != nil {
			return
		}
		s.asked <- struct{}{}
	}
}

// TestStoreSaysNothing: a database that has fallen silent does not hold up the start for ever.
func TestStoreSaysNothing(t *testing.T) {
	r := &rig{t: t, url: "amqp://127.0.0.1:1", path: filepath.Join(t.TempDir(), "c.yaml")}
	r.write("services: [{name: silent, kind: worker, dedupe: {store: postgres, url: '" + silentPostgres(t).url + "'}}]")
	c, err := r.load()
	must(t, err)
	d := daemon.New(daemon.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	d.OpenStoresWithin(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = d.Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "service silent: open its store: it is not open after 50ms: does the database answer?") {
		t.Errorf("got %v, want that it is not open", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("it is taken for a broker that does not answer")
	}
}

// TestStopWhileReloading: who ends the daemon in the middle of a reload is told of no error.
func TestStopWhileReloading(t *testing.T) {
	caller(t, "re-stop", "re-stuck")
	r := up(t, `services: [{name: re-stop, kind: worker}]`)
	store := silentPostgres(t)
	r.write("services: [{name: re-stuck, kind: worker, dedupe: {store: postgres, url: '" + store.url + "'}}]")
	r.hup <- syscall.SIGHUP
	<-store.asked
	r.stop()
	must(t, r.ended())
	if log := r.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") || !strings.Contains(log, "drained") ||
		strings.Contains(log, "configuration read") {
		t.Errorf("it was ended while nothing was wrong, and says\n%s", log)
	}
}
