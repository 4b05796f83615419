package bolt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is enough for a process that is about to end.
const lockTimeout = time.Second

// lock opens the file that is at path once the lock on it is held. A file that is replaced in between is not the one.
func lock(path string) (*bbolt.DB, error) {
	for {
		var file *os.File
		db, err := openFile(path, &bbolt.Options{OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		}})
		if err != nil {
			return nil, explain(err, path)
		}
		opened, err := file.Stat()
		if err == nil {
			err = whole(db, opened.Size())
		}
		there, statErr := os.Stat(path)
		if err == nil && statErr == nil && os.SameFile(opened, there) {
			return db, nil
		}
		_ = db.Close() // nothing is written
		if err != nil {
			return nil, err
		}
	}
}

// openFile opens a file. If it is damaged in a certain way the lock on it is held until the process ends.
func openFile(path string, options *bbolt.Options) (db *bbolt.DB, err error) {
	options.Timeout = lockTimeout
	options.FreelistType = bbolt.FreelistMapType
	err = safely(func() error {
		db, err = bbolt.Open(path, 0o600, options)
		return err
	})
	return db, err
}

const moveAway = "name another file, or move it away, and with it the memory of the calls that ran"

// explain says what to do about an error of openFile.
func explain(err error, path string) error {
	_, system := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return inUse(path)
	case errors.Is(err, syscall.EISDIR):
		return errors.New("it is a directory; name a file in it")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; the user that runs the server must be able to write it", err)
	case system:
		return err
	}
	return fmt.Errorf("it is no idempotency file, or damaged: %w; %s", err, moveAway)
}

// holder is the process that has a file open. It is beside the file, for the error of whoever else tries, and may be
// stale: nothing is decided by it.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

func holderFile(path string) string { return path + ".holder" }

// writeHolder is called with the lock held. If it fails an error is less clear some day.
func writeHolder(path string) {
	host, _ := os.Hostname()
	if text, err := json.Marshal(holder{os.Getpid(), host, time.Now().Truncate(time.Second)}); err == nil {
		_ = os.WriteFile(holderFile(path), text, 0o600)
	}
}

// inUse returns the error for a file that another has locked.
func inUse(path string) error {
	who := "another process"
	var h holder
	if text, err := os.ReadFile(holderFile(path)); err == nil && json.Unmarshal(text, &h) == nil {
		if name := h.String(); name != "" {
			who = name
		}
	}
	return fmt.Errorf("in use by %s; each server needs a file of its own", who)
}

// String names the process, or is "" if it is not the one.
func (h holder) String() string {
	host, err := os.Hostname()
	name := fmt.Sprintf("process %d on %s since %s", h.PID, h.Host, h.Since.Format(time.RFC3339))
	switch {
	case h.PID <= 0 || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return ""
	case err != nil || h.Host != host:
		return "another process, probably " + name // nobody can tell from here
	case h.PID == os.Getpid():
		return "this process since " + h.Since.Format(time.RFC3339)
	case !alive(h.PID):
		return ""
	}
	return name
}

func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil || runtime.GOOS == "windows" {
		return err == nil
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, syscall.EPERM)
}
