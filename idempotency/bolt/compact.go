package bolt

import (
	"os"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
)

const (
	minFree       = 16 << 20 // bytes, for which it is worth while
	compactAtOnce = 8 << 20  // bytes in one transaction: its memory
)

// compact returns a copy of the file without what is free in it, which is then at path, if more than half is free.
// Else, or if that fails, for want of room say, it returns the file, which is as it was.
func compact(db *bbolt.DB, path string) *bbolt.DB {
	copied := path + ".compact"
	_ = os.Remove(copied) // of a process that died; nobody else makes one who has no lock on path
	var size int
	err := db.View(func(tx *bbolt.Tx) error {
		size = int(tx.Size())
		return nil
	})
	if free := db.Stats().FreePageN * db.Info().PageSize; err != nil || free <= minFree || free <= size/2 {
		return db
	}
	smaller, err := copyTo(copied, db)
	if err == nil {
		failpoint.Hit("bolt-compacted")
		err = os.Rename(copied, path) // its lock is held: there is no moment in which another could take the file
	}
	if err != nil {
		if smaller != nil {
			_ = smaller.Close()
		}
		_ = os.Remove(copied)
		return db
	}
	_ = db.Close() // nothing is written
	return smaller
}

// copyTo copies all that is in db. Once it returns it is on disk.
func copyTo(path string, db *bbolt.DB) (*bbolt.DB, error) {
	smaller, err := openFile(path, &bbolt.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	err = safely(func() error { return bbolt.Compact(smaller, db, compactAtOnce) })
	if err == nil {
		smaller.NoSync = false
		err = smaller.Sync()
	}
	return smaller, err
}
