package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
)

// schema is the version of the layout of the file: a file with another one is left alone.
const schema = 1

var (
	schemaKey = []byte("schema")
	headKey   = []byte("head")
)

// head is what is stored of the file as a whole, in 16 bytes, big endian.
type head struct {
	fence uint64 // the last one that was given out
	size  int64  // of entries in running and calls
}

func (h *head) load(file *bbolt.Bucket) error {
	b := file.Get(headKey)
	if len(b) != 16 {
		return fmt.Errorf("head: %w", errDamaged)
	}
	h.fence, h.size = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
	return nil
}

func (h *head) store(file *bbolt.Bucket) error {
	b := binary.BigEndian.AppendUint64(nil, h.fence)
	return file.Put(headKey, binary.BigEndian.AppendUint64(b, uint64(h.size)))
}

func (s *Store) open(path string) (err error) {
	if s.path, err = filepath.Abs(path); err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(s.path); err == nil {
		s.path = real // a link must not be replaced by what it leads to
	}
	if s.db, err = lock(s.path); err != nil {
		return err
	}
	writeHolder(s.path)
	s.db = compact(s.db, s.path)
	s.update = s.db.Update
	if err = safely(s.prepare); err == nil {
		err = syncDir(s.path)
	}
	if err != nil {
		_ = os.Remove(holderFile(s.path))
		_ = s.db.Close() // nothing is written
	}
	return err
}

// whole checks that the file has all its pages.
func whole(db *bbolt.DB, size int64) error {
	return db.View(func(tx *bbolt.Tx) error {
		if missing := tx.Size() - size; missing > 0 {
			return fmt.Errorf("it is damaged: the last %d bytes of %d are missing; %s", missing, tx.Size(), moveAway)
		}
		return nil
	})
}

// prepare makes the file one of this process: what was running is orphaned.
func (s *Store) prepare() error {
	var g *group
	err := s.db.Update(func(tx *bbolt.Tx) (err error) {
		if err = create(tx); err != nil {
			return err
		}
		s.start(tx)
		if g, err = s.group(tx); err != nil {
			return err
		}
		if err = g.running.ForEach(g.orphan); err != nil {
			return err
		}
		if err = tx.DeleteBucket(runningBucket); err != nil {
			return err
		}
		if _, err = tx.CreateBucket(runningBucket); err != nil {
			return err
		}
		return g.save() // also if nothing is new: what is seen now may be of a process that was killed before its sync
	})
	if err != nil {
		return err
	}
	s.durable.Store(g.id)
	s.stats.Entries, s.stats.Bytes = int(g.size), g.used
	return nil
}

// start starts the clock by which entries age.
func (s *Store) start(tx *bbolt.Tx) {
	s.opened = time.Now()
	k, _ := tx.Bucket(agesBucket).Cursor().Last()
	if _, youngest, ok := parseAgeKey(k); ok {
		s.ahead = max(0, youngest.Sub(s.opened))
	}
}

// orphan copies an entry from running to those that nobody runs.
func (g *group) orphan(k, v []byte) error {
	id := callID(k)
	if e, err := parseEntry(v); err == nil {
		e.state = orphaned
		return g.settle(id, e)
	}
	if err := g.ages.Put(ageKey(g.now, id), []byte{}); err != nil {
		return err
	}
	return g.calls.Put(k, v) // for its Begin to say
}

// create makes the buckets in a new file, and checks that it knows those of an old one.
func create(tx *bbolt.Tx) error {
	file := tx.Bucket(fileBucket)
	if file == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return errors.New("it is a bbolt file of something else; name another")
		}
		for _, name := range [][]byte{fileBucket, runningBucket, callsBucket, agesBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		file = tx.Bucket(fileBucket)
		if err := file.Put(schemaKey, strconv.AppendInt(nil, schema, 10)); err != nil {
			return err
		}
		return new(head).store(file)
	}
	if got := string(file.Get(schemaKey)); got != strconv.Itoa(schema) {
		return fmt.Errorf("it has schema %.20q, and this server reads %d; "+
			"open it with the version that wrote it, or name another file", got, schema)
	}
	return nil
}

// syncDir has the name of the file survive a power loss, like its content.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such thing
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read
	return dir.Sync()
}
