package postgres_test

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
)

func TestServersStartTogether(t *testing.T) {
	for range 5 {
		d := testpostgres.URL(t)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				s, err := postgres.Open(t.Context(), d)
				if err != nil {
					t.Error(err)
					return
				}
				s.Close()
			})
		}
		wg.Wait()
	}
}

func TestSchemaFromTheFuture(t *testing.T) {
	d := newDatabase(t)
	open(t, d.url)
	d.exec("UPDATE rabbitrpc.meta SET version = 1000")
	wantRefused(t, d.url, "upgrade the program")
}

func TestSchemasAreApart(t *testing.T) {
	d := newDatabase(t)
	begin(t, open(t, d.url), "1", idempotency.New)
	begin(t, open(t, d.url, postgres.WithSchema("other")), "1", idempotency.New)
}

// role makes one with nothing but the right to log in, and returns the URL for it.
func (d *database) role(t *testing.T) (name, at string) {
	t.Helper()
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	name = "role_" + strings.TrimPrefix(u.Path, "/")
	d.exec("CREATE ROLE " + name + " LOGIN PASSWORD 'hidden'")
	t.Cleanup(func() { d.exec("DROP OWNED BY " + name + "; DROP ROLE " + name) })
	u.User = url.UserPassword(name, "hidden")
	return name, u.String()
}

func TestRights(t *testing.T) {
	d := newDatabase(t)
	name, at := d.role(t)
	wantRefused(t, at, "permission denied for database", "see Rights")
	open(t, d.url)
	wantRefused(t, at, "permission denied for schema rabbitrpc", "see Rights")

	d.exec("GRANT USAGE ON SCHEMA rabbitrpc TO " + name)
	for _, m := range modes {
		s := open(t, at, m.options...)
		begun := begin(t, s, m.name, idempotency.New)
		if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		begin(t, s, m.name, idempotency.Done)
	}
	if _, err := connect(t, at).Exec(t.Context(), "SELECT * FROM rabbitrpc.records"); err == nil {
		t.Error("the role may read what is stored of calls")
	}
}

func TestOpenRefuses(t *testing.T) {
	d := newDatabase(t)
	_, at := d.role(t)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*url.URL)) string {
		c := *u
		change(&c)
		return c.String()
	}
	for name, tt := range map[string]struct {
		url  string
		want string
	}{
		"wrong password":   {with(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "SECRET") }), "check the user and the password"},
		"no such database": {with(func(u *url.URL) { u.Path = "/elsewhere" }), "create the database"},
		"nobody listens":   {with(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "is PostgreSQL running"},
		"no URL":           {"postgres://u:SECRET@%zz", "cannot be read"},
		"no port":          {"postgres://u:SECRET@host:port/d", "cannot be read"},
		"simple protocol":  {with(func(u *url.URL) { u.RawQuery = "default_query_exec_mode=simple_protocol" }), "simple protocol"},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, tt.url, tt.want) })
	}
}

func wantRefused(t *testing.T, at string, want ...string) {
	t.Helper()
	s, err := postgres.Open(t.Context(), at)
	if err == nil {
		s.Close()
		t.Error("opened")
		return
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q, want %q in it", err, text)
		}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		t.Error("the configuration, with the password, is in the error's chain")
	}
	for _, secret := range []string{"SECRET", "hidden"} {
		if strings.Contains(all(err), secret) {
			t.Errorf("the password is in the error %s", all(err))
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]postgres.Option{
		"schema":       postgres.WithSchema("Robert'); DROP TABLE students; --"),
		"no schema":    postgres.WithSchema(""),
		"retention":    postgres.WithRetention(1),
		"lease":        postgres.WithLease(1),
		"long lease":   postgres.WithLease(1 << 62),
		"connections":  postgres.WithConnections(0),
		"too many":     postgres.WithConnections(1<<32 + 1),
		"logger":       postgres.WithLogger(nil),
		"serializable": postgres.WithSerializable(),
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := postgres.Open(t.Context(), "postgres://u@127.0.0.1:1/d", o); err == nil || strings.Contains(err.Error(), "running") {
				t.Errorf("Open = %v, %v, want the option refused", s, err)
			}
			if err := postgres.Check("postgres://u@127.0.0.1:1/d", o); err == nil {
				t.Error("Check takes it")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	if err := postgres.Check("postgres://u@127.0.0.1:1/d", postgres.WithConnections(1)); err != nil {
		t.Errorf("nobody need be there: %v", err)
	}
	if err := postgres.Check("postgres://u:SECRET@127.0.0.1:port/d"); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("got %v, want an error without the password", err)
	}
}
