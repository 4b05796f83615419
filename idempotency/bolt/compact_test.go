package bolt

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// fill makes a file with much that is free: calls 0 and 2 are done, and 1 is an orphan.
func fill(t *testing.T, path string) {
	t.Helper()
	s := open(t, path, WithEntries(3), WithMinAge(0))
	s.want(1, idempotency.New)
	large := &idempotency.Record{Reply: &rpc.Reply{Body: bytes.Repeat([]byte("x"), minFree+minFree/2)}}
	if err := s.Complete(t.Context(), s.want(3, idempotency.New).Token, large); err != nil {
		t.Fatal(err)
	}
	s.run(0)
	s.run(2) // in place of 3
	s.close()
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func checkFilled(t *testing.T, s store) {
	t.Helper()
	s.wantReply(0)
	s.wantReply(2)
	if begun := s.want(1, idempotency.Orphaned); begun.Claims != 2 {
		t.Errorf("claims = %d, want 2", begun.Claims)
	}
	if got := s.Stats().Entries; got != 3 {
		t.Errorf("entries = %d, want 3", got)
	}
	s.run(7)
}

func TestCompacts(t *testing.T) {
	path := newFile(t)
	fill(t, path)
	before := size(t, path)
	s := open(t, path)
	if after := size(t, path); before < minFree || after > before/8 {
		t.Errorf("size = %d before and %d after", before, after)
	}
	if s.db.NoSync {
		t.Error("what is written from now on is not synced")
	}
	checkFilled(t, s)
	s.close()
	s = open(t, path)
	s.wantReply(7)
	s.wantReply(0)
}

func TestCompactedFileIsLocked(t *testing.T) {
	path := newFile(t)
	fill(t, path)
	open(t, path)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "in use by this process") {
		t.Errorf("Open = %v, want it refused", err)
	}
}

// A file with little that is free is not copied, nor one that is small.
func TestDoesNotCompactForLittle(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	s.run(1)
	s.close()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file is another: %v", err)
	}
}

func TestKilledWhileCompacting(t *testing.T) {
	path := newFile(t)
	fill(t, path)
	before := size(t, path)
	cmd, _, _ := startChild(t, "hold", path, failpoint.Env+"=bolt-compacted=kill")
	if exit, ok := errors.AsType[*exec.ExitError](cmd.Wait()); !ok || exit.ExitCode() >= 0 {
		t.Fatalf("process ended with %v, want it killed", exit)
	}
	if got := size(t, path); got != before {
		t.Errorf("size = %d, want %d as before", got, before)
	}
	// Longer than what is to be copied, and in part of it.
	left, err := os.OpenFile(path+".compact", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.WriteAt(bytes.Repeat([]byte("y"), 100_000), 5000); err != nil {
		t.Fatal(err)
	}
	_ = left.Close()
	s := open(t, path)
	if _, err := os.Stat(path + ".compact"); err == nil {
		t.Error("the copy is left")
	}
	checkFilled(t, s)
	if got := size(t, path); got > before/8 {
		t.Errorf("size = %d, want it compacted this time", got)
	}
}

// A file that cannot be compacted can be used.
func TestCompactingFails(t *testing.T) {
	path := newFile(t)
	fill(t, path)
	if err := os.MkdirAll(path+".compact/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	checkFilled(t, open(t, path))
}
