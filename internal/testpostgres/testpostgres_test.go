package testpostgres_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
)

func TestMain(m *testing.M) { testbroker.Main(m, testpostgres.Close) }

func TestURL(t *testing.T) {
	t.Setenv("RABBITRPC_TEST_POSTGRES", "")
	var addr string
	lived := t.Run("lives", func(t *testing.T) {
		addr = testpostgres.URL(t)
		one, other := connect(t, addr), connect(t, testpostgres.URL(t)) // open until the end, past the databases'
		if one.Config().Port != other.Config().Port {
			t.Error("a second server was started")
		}
		if _, err := one.Exec(t.Context(), "CREATE TABLE mine ()"); err != nil {
			t.Fatal(err)
		}
		var count int
		err := other.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&count)
		if err != nil || count != 0 {
			t.Errorf("the other database has %d tables, %v, want none", count, err)
		}
	})
	var gone *pgconn.PgError
	if _, err := pgx.Connect(t.Context(), addr); lived && (!errors.As(err, &gone) || gone.Code != "3D000") {
		t.Errorf("got %v, want that the database has ended with its test", err)
	}
}

func TestOwn(t *testing.T) {
	t.Setenv("RABBITRPC_TEST_POSTGRES", "postgres://elsewhere")
	var own *chaos.Postgres
	lived := t.Run("lives", func(t *testing.T) {
		own = testpostgres.Own(t)
		connect(t, own.URL())
	})
	if lived && own.Kill() == nil {
		t.Error("server outlived its test")
	}
}

func TestForeignServer(t *testing.T) {
	foreign := testpostgres.Own(t).URL()
	t.Setenv("RABBITRPC_TEST_POSTGRES", foreign)
	c, there := connect(t, testpostgres.URL(t)), connect(t, foreign)
	if got, want := c.Config().Port, there.Config().Port; got != want {
		t.Errorf("database is at port %d, want that of RABBITRPC_TEST_POSTGRES, %d", got, want)
	}
	if c.Config().Database == there.Config().Database {
		t.Error("got the database of RABBITRPC_TEST_POSTGRES itself, want one of its own")
	}
}

func connect(t *testing.T, addr string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
