// Package testpostgres gives tests a real PostgreSQL. A package that uses it hands [Close] to testbroker.Main, whether or
// not it uses a broker:
//
//	func TestMain(m *testing.M) { testbroker.Main(m, testpostgres.Close) }
package testpostgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// urlEnv names a server that runs already, for the tests that don't break theirs. Its user may create databases.
const urlEnv = "RABBITRPC_TEST_POSTGRES"

const timeout = time.Minute // a start takes a second or two, a new database a tenth

var shared struct {
	sync.Mutex // guards what follows; others wait while the first starts the server
	server     *chaos.Postgres
	err        error
}

// Close ends the server that the tests of the package share, if one of them has started it.
func Close() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return nil
	}
	return shared.server.Close()
}

// URL returns the address of an empty database for tb alone, on a server that all tests of the package share: the one
// that RABBITRPC_TEST_POSTGRES names, else a private one. The database is dropped when tb ends.
func URL(tb testing.TB) string {
	tb.Helper()
	server := serverURL(tb)
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatalf("parse %s: %v", urlEnv, err)
	}
	name := "rabbitrpc_test_" + strings.ToLower(rand.Text())
	// Not from template1, which may be in use, or have something in it.
	execute(tb, server, "CREATE DATABASE "+name+" TEMPLATE template0")
	tb.Cleanup(func() { execute(tb, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u.Path = "/" + name
	return u.String()
}

func serverURL(tb testing.TB) string {
	tb.Helper()
	if url := os.Getenv(urlEnv); url != "" {
		return url
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil { // once it has failed, the other tests need not wait for it
		shared.server, shared.err = start()
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server.URL()
}

func execute(tb testing.TB, server, statement string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // the test's own has ended when it cleans up
	defer cancel()
	if err := do(ctx, server, statement); err != nil {
		tb.Fatal(err)
	}
}

func do(ctx context.Context, server, statement string) error {
	c, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Own returns a server for tb alone, to stop, kill and pause. It is closed when tb ends.
func Own(tb testing.TB) *chaos.Postgres {
	tb.Helper()
	p, err := start()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

func start() (*chaos.Postgres, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return chaos.StartPostgres(ctx)
}
