package endtoend

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/bolt"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// spec is what a server process is to be: this test binary, run again with it in its environment. The server has the
// methods double, which takes Work, effect, and poison, which kills it.
type spec struct {
	URL, Service string
	Work         time.Duration // what a call of double takes
	Store        string        // none, lru, which is the default, bolt or postgres
	File         string        // of bolt
	Database     string        // of postgres, and of the ledger; without it that is the file Ledger
	Ledger       string
	Heartbeat    time.Duration // 0 for the default
	Quorum       int           // delivery limit of a quorum queue, 0 for a classic one
	Failpoints   string        `json:"-"`
}

const specEnv = "RABBITRPC_ENDTOEND"

func TestMain(m *testing.M) {
	if s := os.Getenv(specEnv); s != "" {
		if err := serveProcess(s); err != nil {
			fmt.Fprintln(os.Stderr, "server process:", err)
			os.Exit(1)
		}
		return
	}
	testbroker.Main(m, testpostgres.Close)
}

// serveProcess is a server in a process of its own, until SIGTERM or the end of its standard input: that is the end of the
// test that started it.
func serveProcess(text string) error {
	var sp spec
	if err := json.Unmarshal([]byte(text), &sp); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		os.Stdin.Read(make([]byte, 1))
		stop()
	}()
	opts := []conn.Option{conn.WithLogger(quiet)}
	if sp.Heartbeat > 0 {
		opts = append(opts, conn.WithHeartbeat(sp.Heartbeat))
	}
	m, err := conn.Open(ctx, sp.URL, opts...)
	if err != nil {
		return err
	}
	defer m.Close(context.Background())
	s, closeStore, err := sp.server(ctx, m)
	if err != nil {
		return err
	}
	defer closeStore()
	go func() {
		select {
		case <-s.Ready():
			os.Stdout.WriteString("ready\n")
		case <-ctx.Done():
		}
	}()
	return s.Run(ctx)
}

func (sp *spec) server(ctx context.Context, m *conn.Manager) (*server.Server, func(), error) {
	opts := []server.Option{server.WithLogger(quiet), server.WithWorkers(64), server.WithQuorumQueue(sp.Quorum)}
	closeStore := func() {}
	apply := sp.toFile
	var store idempotency.Store
	switch sp.Store {
	case "", "lru":
	case "none":
		opts = append(opts, server.WithStore(nil))
	case "bolt":
		b, err := bolt.Open(sp.File)
		if err != nil {
			return nil, nil, err
		}
		store, closeStore = b, func() { b.Close() }
	case "postgres":
		p, err := postgres.Open(ctx, sp.Database, postgres.WithTransactions(), postgres.WithLease(3*time.Second))
		if err != nil {
			return nil, nil, err
		}
		store, closeStore, apply = p, p.Close, toTable
	default:
		return nil, nil, fmt.Errorf("store %q", sp.Store)
	}
	if store != nil {
		opts = append(opts, server.WithStore(store))
	}
	s, err := server.New(m, sp.Service, opts...)
	if err != nil {
		return nil, nil, err
	}
	server.Handle(s, rpc.Method[int, int]{Service: sp.Service, Name: "double"}, func(_ context.Context, n int) (int, error) {
		time.Sleep(sp.Work)
		return 2 * n, nil
	})
	server.Handle(s, rpc.Method[int, int]{Service: sp.Service, Name: "poison"}, func(context.Context, int) (int, error) {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	})
	// Each execution of effect is an entry of its own in a ledger that knows nothing of deduplication, and has a reply of
	// its own.
	server.Handle(s, rpc.Method[string, string]{Service: sp.Service, Name: "effect"}, func(ctx context.Context, what string) (string, error) {
		failpoint.Hit("entered")
		entry := fmt.Sprintf("%s %d-%d", what, os.Getpid(), time.Now().UnixNano())
		if err := apply(ctx, entry); err != nil {
			return "", err
		}
		failpoint.Hit("applied")
		return entry, nil
	})
	return s, closeStore, nil
}

func (sp *spec) toFile(_ context.Context, entry string) error {
	f, err := os.OpenFile(sp.Ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(entry + "\n"); err != nil {
		return err
	}
	return f.Close()
}

func toTable(ctx context.Context, entry string) error {
	_, err := postgres.Tx(ctx).Exec(ctx, "INSERT INTO ledger (entry) VALUES ($1)", entry)
	return err
}

// makeLedger makes the table for the effects.
func makeLedger(t *testing.T, database string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	must(t, err)
	defer c.Close(t.Context())
	_, err = c.Exec(t.Context(), "CREATE TABLE ledger (entry text NOT NULL)")
	must(t, err)
}

// effects returns the entries in the ledger for one call.
func (sp *spec) effects(t *testing.T, what string) []string {
	t.Helper()
	var all []string
	if sp.Store == "postgres" {
		c, err := pgx.Connect(t.Context(), sp.Database)
		must(t, err)
		defer c.Close(t.Context())
		rows, err := c.Query(t.Context(), "SELECT entry FROM ledger")
		must(t, err)
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
	} else {
		text, err := os.ReadFile(sp.Ledger)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = strings.Split(string(text), "\n")
	}
	return slices.DeleteFunc(all, func(entry string) bool { return !strings.HasPrefix(entry, what+" ") })
}

// A process is a server process that runs.
type process struct {
	*exec.Cmd
	t     *testing.T
	ready chan struct{} // closed when it serves
	ended chan struct{} // closed when it is gone
	err   error         // of Wait
	close func()        // its standard input
}

// launch starts a server process, and does not wait for it.
func launch(t *testing.T, sp spec) *process {
	t.Helper()
	text, err := json.Marshal(sp)
	must(t, err)
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), specEnv+"="+string(text), failpoint.Env+"="+sp.Failpoints)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	p := &process{Cmd: c, t: t, ready: make(chan struct{}), ended: make(chan struct{}), close: sync.OnceFunc(func() { in.Close() })}
	go func() {
		defer close(p.ended)
		if line, _ := bufio.NewReader(out).ReadString('\n'); line == "ready\n" {
			close(p.ready)
		}
		p.err = c.Wait()
	}()
	t.Cleanup(func() {
		p.close()
		c.Process.Kill()
		<-p.ended
	})
	return p
}

// start starts a server process and waits until it serves.
func start(t *testing.T, sp spec) *process {
	t.Helper()
	p := launch(t, sp)
	select {
	case <-p.ready:
	case <-p.ended:
		t.Fatalf("server process ended: %v", p.err)
	case <-time.After(30 * time.Second):
		t.Fatal("server process is not ready")
	}
	return p
}

// stop lets the process drain and waits for its end, which must be a good one.
func (p *process) stop() {
	p.t.Helper()
	p.close()
	p.wait()
	if p.err != nil {
		p.t.Errorf("server process ended with %v", p.err)
	}
}

// wait waits for the end of the process.
func (p *process) wait() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		p.t.Fatal("server process did not end")
	}
}
