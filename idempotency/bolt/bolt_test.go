package bolt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/storetest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// childEnv is the variable that has the binary of the test be another process: one of children, for the file in
// fileEnv.
const (
	childEnv = "RABBITRPC_BOLT_CHILD"
	fileEnv  = "RABBITRPC_BOLT_FILE"
)

var children = map[string]func(path string) error{"hold": childHold, "load": childLoad}

func TestMain(m *testing.M) {
	if run := children[os.Getenv(childEnv)]; run != nil {
		if err := run(os.Getenv(fileEnv)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// startChild starts another process. What it prints can be read from out; it may wait for in to be closed.
func startChild(t *testing.T, name, path string, env ...string) (cmd *exec.Cmd, out *bufio.Reader, in io.Closer) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), append(env, childEnv+"="+name, fileEnv+"="+path, "GORACE=atexit_sleep_ms=0")...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(stdout), stdin
}

func newFile(t testing.TB) string { return filepath.Join(t.TempDir(), "calls.db") }

// store adds to a store what makes tests short.
type store struct {
	*Store
	t    testing.TB
	hook *atomic.Pointer[update]
}

func open(t testing.TB, path string, options ...Option) store {
	t.Helper()
	s, err := Open(path, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	hook := new(atomic.Pointer[update])
	s.update = func(fn func(*bbolt.Tx) error) error { // nothing waits yet
		if u := hook.Load(); u != nil {
			return (*u)(fn)
		}
		return s.db.Update(fn)
	}
	return store{s, t, hook}
}

func (s store) close() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatalf("Close: %v", err)
	}
}

func key(n int) idempotency.Key { return idempotency.Key{Client: "c", ID: fmt.Sprint(n)} }

var fingerprint = idempotency.FingerprintOf(&rpc.Request{Body: []byte("payload")})

func (s store) want(n int, want idempotency.State) idempotency.Begun {
	s.t.Helper()
	begun, err := s.Begin(context.Background(), key(n), fingerprint)
	if err != nil || begun.State != want {
		s.t.Fatalf("Begin(%d) = state %d, %v, want state %d", n, begun.State, err, want)
	}
	return begun
}

func reply(n int) *idempotency.Record {
	return &idempotency.Record{Reply: &rpc.Reply{Body: fmt.Append(nil, "reply ", n)}}
}

func (s store) complete(n int, token idempotency.Token) {
	s.t.Helper()
	if err := s.Complete(context.Background(), token, reply(n)); err != nil {
		s.t.Fatalf("Complete(%d): %v", n, err)
	}
}

func (s store) run(n int) {
	s.t.Helper()
	s.complete(n, s.want(n, idempotency.New).Token)
}

func (s store) wantReply(n int) {
	s.t.Helper()
	begun := s.want(n, idempotency.Done)
	if got, want := string(begun.Record.Reply.Body), fmt.Sprint("reply ", n); got != want {
		s.t.Fatalf("reply = %q, want %q", got, want)
	}
}

func TestIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) idempotency.Store { return open(t, newFile(t)).Store })
}

func TestCrash(t *testing.T) {
	storetest.RunCrash(t, storetest.Crash{
		Survives: storetest.Outcomes,
		Open:     func(dir string) (idempotency.Store, error) { return Open(filepath.Join(dir, "calls.db")) },
		Points: map[string]storetest.Step{
			"bolt-claiming": storetest.Delivered, "bolt-committed": storetest.Claimed, "bolt-storing": storetest.Answered,
		},
	})
}
