package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestModeIsPrivate(t *testing.T) {
	path := newFile(t)
	open(t, path)
	for _, name := range []string{path, holderFile(path)} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("mode of %s = %o, want 600", filepath.Base(name), got)
		}
	}
}

// written returns the content of a file with calls, without the part at the end that is not used.
func written(t *testing.T) []byte {
	t.Helper()
	path := newFile(t)
	s := open(t, path)
	for n := range 100 {
		s.run(n)
	}
	var used int64
	_ = s.db.View(func(tx *bbolt.Tx) error {
		used = tx.Size()
		return nil
	})
	s.close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text[:used]
}

// A file of which any part is missing is not opened. Each is opened by a process of its own, which has nothing else mapped
// where the rest would be.
func TestOpenTruncated(t *testing.T) {
	whole := written(t)
	path := newFile(t)
	for size := 1; size < len(whole); size += 4099 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		cmd, out, in := startChild(t, "hold", path)
		line, _ := out.ReadString('\n')
		_ = in.Close()
		_ = cmd.Wait()
		if !strings.HasPrefix(line, "open idempotency file ") || !strings.Contains(line, "damaged: ") {
			t.Errorf("Open = %q with %d bytes of %d, want that it is damaged", line, size, len(whole))
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path).wantReply(99)
}

func foreign(t *testing.T, change func(tx *bbolt.Tx) error) []byte {
	t.Helper()
	path := newFile(t)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What is no file of this package is told apart, and left as it is.
func TestOpenExplains(t *testing.T) {
	for _, tt := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"text", []byte("hello\n"), "it is no idempotency file, or damaged: "},
		{"long text", bytes.Repeat([]byte("hello\n"), 10_000), "it is no idempotency file, or damaged: "},
		{"zeros", make([]byte, 64<<10), "it is no idempotency file, or damaged: "},
		{"another bbolt file", foreign(t, func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("users"))
			return err
		}), "it is a bbolt file of something else; name another"},
		{"from the future", foreign(t, func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(fileBucket)
			if err != nil {
				return err
			}
			return b.Put(schemaKey, []byte("2"))
		}), `it has schema "2", and this server reads 1; open it with the version that wrote it, or name another file`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := newFile(t)
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first one does not keep the lock
				s, err := Open(path)
				if err == nil {
					_ = s.Close()
				}
				if err == nil || !strings.HasPrefix(err.Error(), "open idempotency file "+path+": "+tt.want) {
					t.Errorf("Open = %v, want %q", err, tt.want)
				}
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, tt.content) {
				t.Errorf("the file is not as it was: %v", err)
			}
			if _, err := os.Stat(holderFile(path)); err == nil {
				t.Error("the holder's file is left")
			}
		})
	}
}

func TestOpenDirectory(t *testing.T) {
	_, err := Open(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "it is a directory; name a file in it") {
		t.Errorf("Open = %v", err)
	}
	_, err = Open(filepath.Join(t.TempDir(), "none", "calls.db"))
	if !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "damaged") {
		t.Errorf("Open = %v, want that the directory does not exist", err)
	}
}

func TestOpenFollowsLinks(t *testing.T) {
	path := newFile(t)
	fill(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, link)
	s.wantReply(0)
	s.close()
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v, %v", info, err)
	}
	if got := size(t, path); got > 4<<20 {
		t.Errorf("size = %d, want it compacted", got)
	}
}

func childHold(path string) error {
	if _, err := Open(path); err != nil {
		return err
	}
	fmt.Println("open")
	_, err := os.Stdin.Read(make([]byte, 1))
	return fmt.Errorf("killed with the test: %w", err)
}

func TestInUse(t *testing.T) {
	path := newFile(t)
	before := time.Now().Truncate(time.Second)
	cmd, out, _ := startChild(t, "hold", path)
	if line, err := out.ReadString('\n'); line != "open\n" {
		t.Fatal(line, err)
	}
	_, err := Open(path)
	host, _ := os.Hostname()
	since := ""
	if err != nil {
		_, since, _ = strings.Cut(err.Error(), " since ")
		since, _, _ = strings.Cut(since, ";")
	}
	if want := fmt.Sprintf("open idempotency file %s: in use by process %d on %s since %s; each server needs a file of its own",
		path, cmd.Process.Pid, host, since); err == nil || err.Error() != want {
		t.Errorf("Open = %v, want %s", err, want)
	}
	if at, err := time.Parse(time.RFC3339, since); err != nil || at.Before(before) || time.Since(at) < 0 {
		t.Errorf("since %q, want the time of Open", since)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := inUse(path).Error(); got != "in use by another process; each server needs a file of its own" {
		t.Errorf("with the mark of a process that is gone: %s", got)
	}
	s := open(t, path)
	_, err = Open(path)
	if err == nil || !strings.Contains(err.Error(), ": in use by this process since ") {
		t.Errorf("Open = %v, want that this process has it", err)
	}
	s.close()
	if _, err := os.Stat(holderFile(path)); err == nil {
		t.Error("the mark is left after Close")
	}
	open(t, path)
}

func TestInUseWithAnyMark(t *testing.T) {
	host, _ := os.Hostname()
	for _, tt := range []struct{ mark, want string }{
		{`{"pid":1,"host":"` + host + `","since":"2026-01-02T03:04:05Z"}`, "in use by process 1 on " + host + " since 2026-01-02T03:04:05Z; "},
		{`{"pid":7,"host":"elsewhere","since":"2026-01-02T03:04:05Z"}`, "in use by another process, probably process 7 on elsewhere since 2026-01-02T03:04:05Z; "},
		{`{"pid":7,"host":"\u001b[31m","since":"2026-01-02T03:04:05Z"}`, "in use by another process; "},
		{`{"pid":0,"host":"elsewhere"}`, "in use by another process; "},
		{`{"pid":`, "in use by another process; "},
		{``, "in use by another process; "},
	} {
		path := newFile(t)
		if err := os.WriteFile(holderFile(path), []byte(tt.mark), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := inUse(path).Error(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.mark, got, tt.want)
		}
	}
}

// Who waited for the lock of a file that was replaced meanwhile opens the new one.
func TestOpenTakesTheFileThatIsThere(t *testing.T) {
	path, other := newFile(t), newFile(t)
	s := open(t, other)
	s.run(1)
	s.close()
	old := open(t, path)
	opened := make(chan store)
	go func() { opened <- open(t, path) }()
	time.Sleep(200 * time.Millisecond) // it waits for the lock by now; if not, the test proves less
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	old.close()
	s = <-opened
	s.wantReply(1)
}

func TestOptionsOutOfRange(t *testing.T) {
	for name, o := range map[string]Option{
		"no entries":           WithEntries(0),
		"negative bytes":       WithBytes(-1),
		"no age":               WithMaxAge(0),
		"negative age":         WithMinAge(-1),
		"minimum over maximum": WithMinAge(25 * time.Hour),
	} {
		path := filepath.Join(t.TempDir(), "calls.db")
		if s, err := Open(path, o); err == nil {
			t.Errorf("%s: it was opened", name)
			s.Close() //nolint:errcheck // it should not be there
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file was made", name)
		}
		if Check(o) == nil {
			t.Errorf("%s: Check takes it", name)
		}
	}
	if err := Check(WithEntries(1), WithMinAge(0)); err != nil {
		t.Error(err)
	}
}
