package bolt

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Where small claims can be written and large outcomes cannot, calls are refused before too many outcomes wait in memory.
func TestOwedIsBounded(t *testing.T) {
	s := open(t, newFile(t), WithBytes(16<<20))
	s.set(func(fn func(*bbolt.Tx) error) error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			if k, _ := tx.Bucket(callsBucket).Cursor().First(); k != nil { // a large outcome
				return errDisk
			}
			return nil
		})
	})
	var start, end runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&start)
	record := &idempotency.Record{Reply: &rpc.Reply{Body: bytes.Repeat([]byte("x"), 1<<20)}}
	calls := 0
	for ; calls < 200; calls++ {
		begun, err := s.Begin(t.Context(), key(calls), fingerprint)
		if rpc.CodeOf(err) == rpc.ResourceExhausted {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Complete(t.Context(), begun.Token, record); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&end)
	if grown := (int64(end.HeapAlloc) - int64(start.HeapAlloc)) >> 20; grown > 32 {
		t.Errorf("%d calls let in, %d MiB kept in memory, with a bound of 16 MiB; stats %+v", calls, grown, s.Stats())
	}
	s.works()
}
