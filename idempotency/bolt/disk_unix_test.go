//go:build unix

package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func init() {
	children["full"] = childFull
	children["unprivileged"] = childUnprivileged
}

// childFull fills a file up to a bound of the system, and goes on when the bound is lifted.
func childFull(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := Open(path)
	if err != nil {
		return err
	}
	ctx := context.Background()
	running, err := s.Begin(ctx, key(0), fingerprint)
	if err != nil {
		return err
	}
	var bound syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &bound); err != nil {
		return err
	}
	lifted := bound
	bound.Cur = 256 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &bound); err != nil {
		return err
	}
	large := &idempotency.Record{Reply: &rpc.Reply{Body: bytes.Repeat([]byte("x"), 512<<10)}}
	if err := s.Complete(ctx, running.Token, large); !errors.Is(err, syscall.EFBIG) && (err == nil || !isFull(err)) {
		return fmt.Errorf("Complete = %w, want that the file is too large", err)
	}
	n, full := 1, false // it is still good for what is small
	for ; n < 10_000 && !full; n++ {
		if _, err := s.Begin(ctx, key(n), fingerprint); err != nil {
			full = isFull(err)
		}
	}
	if !full {
		return errors.New("never full")
	}
	if begun, err := s.Begin(ctx, key(0), fingerprint); err != nil || begun.State != idempotency.InFlight {
		return fmt.Errorf("Begin = state %d, %w of what could not be stored, want in flight", begun.State, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lifted); err != nil {
		return err
	}
	time.Sleep(2 * retryEvery)
	begun, err := s.Begin(ctx, key(0), fingerprint)
	if err != nil || begun.State != idempotency.Done || !bytes.Equal(begun.Record.Reply.Body, large.Reply.Body) {
		return fmt.Errorf("Begin = state %d, %w, want the reply", begun.State, err)
	}
	if begun, err := s.Begin(ctx, key(n-1), fingerprint); err != nil || begun.State != idempotency.New {
		return fmt.Errorf("Begin = state %d, %w of the one that was refused, want new", begun.State, err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Println("ok")
	return nil
}

// isFull is true also for what bbolt says when it cannot make the file larger: its error keeps only the text.
func isFull(err error) bool {
	return errors.Is(err, syscall.EFBIG) || bytes.Contains([]byte(err.Error()), []byte("file too large"))
}

func TestDiskIsFull(t *testing.T) {
	path := newFile(t)
	cmd, out, _ := startChild(t, "full", path)
	if line, err := out.ReadString('\n'); line != "ok\n" {
		t.Errorf("%s (%v)", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	s := open(t, path)
	s.want(0, idempotency.Done)
	s.want(1, idempotency.Orphaned)
}

func childUnprivileged(path string) error {
	if os.Getuid() == 0 {
		if err := syscall.Setreuid(65534, 65534); err != nil {
			return err
		}
	}
	_, err := Open(path)
	fmt.Println(err)
	return nil
}

func TestOpenReadOnly(t *testing.T) {
	dir, err := os.MkdirTemp("", "bolt") // that of the test is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "calls.db")
	open(t, path).close()
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	cmd, out, _ := startChild(t, "unprivileged", path)
	line, err := out.ReadString('\n')
	if err != nil || !strings.Contains(line, "permission denied; the user that runs the server must be able to write it") {
		t.Errorf("Open = %q, %v", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
