package chaos_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rabbitrpc/rabbitrpc/chaos"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *chaos.Postgres)
	}{
		{"is as it was asked for", testPostgresSettings},
		{"pauses", testPostgresPause},
		{"closes", testPostgresClose},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, p) })
	}
}

func testPostgresSettings(t *testing.T, p *chaos.Postgres) {
	c := connect(t, p.URL())
	for name, want := range map[string]string{
		"fsync":                   "on",
		"synchronous_commit":      "on",
		"max_connections":         "200",
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"server_encoding":         "UTF8",
		"lc_collate":              "C",
	} {
		if got, err := query(t.Context(), c, "SHOW "+name); got != want || err != nil {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "guessed")
	var refused *pgconn.PgError
	if _, err := pgx.Connect(t.Context(), u.String()); !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("wrong password: got %v, want it refused", err)
	}
}

func testPostgresPause(t *testing.T, p *chaos.Postgres) {
	c := connect(t, p.URL())
	for range 2 { // twice is as good as once
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	answer := make(chan error, 1)
	go func() {
		_, err := query(context.Background(), c, "SELECT 'awake'")
		answer <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, p.URL()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("new connection with a paused server: got %v, want deadline exceeded", err)
	}
	if err := p.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start of a paused server: got %v, want it to wait", err)
	}
	select {
	case err := <-answer:
		t.Errorf("a paused server answered: %v", err)
		answer <- err
	default:
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answer:
		if err != nil {
			t.Errorf("query on a resumed server: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("a resumed server does not answer")
	}
	connect(t, p.URL())
}

func testPostgresClose(t *testing.T, p *chaos.Postgres) {
	if _, err := os.Stat(p.Log()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(p.Log())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of a closed server: got %v, want none", err)
	}
	if err := p.Start(t.Context()); err == nil {
		t.Error("a closed server started")
	}
	if err := p.Kill(); !errors.Is(err, chaos.ErrDown) {
		t.Errorf("Kill of a closed server: got %v, want ErrDown", err)
	}
}

func TestPostgresLives(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	addr := p.URL()
	if _, err := connect(t, addr).Exec(ctx, "CREATE TABLE kept (life text)"); err != nil {
		t.Fatal(err)
	}
	var want string
	for _, tt := range []struct {
		name string
		end  func() error
	}{
		{"stopped", func() error { return p.Stop(ctx) }},
		{"killed", p.Kill},
		{"stopped while paused", func() error { return errors.Join(p.Pause(), p.Stop(ctx)) }},
		{"killed while paused", func() error { return errors.Join(p.Pause(), p.Kill()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, addr)
			if _, err := c.Exec(ctx, "INSERT INTO kept VALUES ($1)", tt.name); err != nil {
				t.Fatal(err)
			}
			want += tt.name + ";"
			ended := keepBusy(ctx, t, addr)

			if err := tt.end(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatal("a process of the server lives on")
			}
			if _, err := pgx.Connect(ctx, addr); err == nil {
				t.Error("server answers after its end")
			}
			for verb, do := range map[string]func() error{"Kill": p.Kill, "Pause": p.Pause, "Resume": p.Resume} {
				if err := do(); !errors.Is(err, chaos.ErrDown) {
					t.Errorf("%s of a server that is down: got %v, want ErrDown", verb, err)
				}
			}
			if err := p.Stop(ctx); err != nil {
				t.Errorf("Stop of a server that is down: %v", err)
			}
			if err := p.Start(ctx); err != nil {
				t.Fatal(err)
			}
			got, err := query(ctx, connect(t, addr), "SELECT string_agg(life || ';', '') FROM kept")
			if got != want || err != nil {
				t.Errorf("after the start, rows are %q (%v), want %q", got, err, want)
			}
		})
	}
	if got := p.URL(); got != addr {
		t.Errorf("URL became %s, want %s", got, addr)
	}
}

// keepBusy gives the server a query that never ends, and whose process would not notice on its own that the server is
// gone. The channel is closed when the query has failed all the same.
func keepBusy(ctx context.Context, t *testing.T, addr string) (ended chan struct{}) {
	t.Helper()
	busy, watch := connect(t, addr), connect(t, addr)
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		busy.Exec(ctx, "DO 'BEGIN LOOP END LOOP; END'")
	}()
	eventually(t, "query does not start", func() bool {
		n, err := query(ctx, watch, "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'")
		return n == "1" && err == nil
	})
	return ended
}

func TestPostgresStartShowsReason(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("got %v, want what the server says about its address", err)
	}
	l.Close()
	if err := p.Start(t.Context()); err != nil {
		t.Errorf("with the address free again: %v", err)
	}
}

func TestPostgresStartEndsWithContext(t *testing.T) {
	temp := ownTemp(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := chaos.StartPostgres(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "initdb") {
		t.Errorf("got %v, want deadline exceeded, in initdb", err)
	}
	wantEmpty(t, temp)
}

func TestPostgresInClosedFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only for root, the server's user is another")
	}
	t.Setenv("TMPDIR", t.TempDir())
	_, err := chaos.StartPostgres(t.Context())
	if err == nil || !strings.Contains(err.Error(), "as user ") || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("got %v, want who is denied permission", err)
	}
}

func TestPostgresWithoutPrograms(t *testing.T) {
	t.Setenv("POSTGRES_BIN", "/nowhere")
	_, err := chaos.StartPostgres(t.Context())
	if !errors.Is(err, chaos.ErrNoPostgres) || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("got %v, want how to install PostgreSQL", err)
	}
}

func startPostgres(t *testing.T) *chaos.Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := chaos.StartPostgres(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func connect(t *testing.T, addr string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := pgx.Connect(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func query(ctx context.Context, c *pgx.Conn, statement string) (value string, err error) {
	err = c.QueryRow(ctx, statement).Scan(&value)
	return value, err
}
