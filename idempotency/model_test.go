package idempotency_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// model is an LRU without bytes, as a plain list of calls: who is used moves to
// the end.
type model []modelEntry

type modelEntry struct {
	id, body int
	token    idempotency.Token // of the LRU; running while it has a key
	used     time.Time
}

func (e modelEntry) running() bool { return e.token.Fence != 0 }

const (
	modelEntries = 3
	modelMinAge  = 2 * time.Second
	modelMaxAge  = 6 * time.Second
)

// forget drops what is too old, and one more if there is no room for another.
func (m *model) forget() (room bool) {
	*m = slices.DeleteFunc(*m, func(e modelEntry) bool { return !e.running() && time.Since(e.used) >= modelMaxAge })
	if len(*m) < modelEntries {
		return true
	}
	i := slices.IndexFunc(*m, func(e modelEntry) bool { return !e.running() })
	if i < 0 || time.Since((*m)[i].used) < modelMinAge {
		return false
	}
	*m = slices.Delete(*m, i, i+1)
	return true
}

func (m *model) touch(i int, e modelEntry) {
	e.used = time.Now()
	*m = append(slices.Delete(*m, i, i+1), e)
}

func (m *model) begin(id, body int) (want idempotency.State) {
	*m = slices.DeleteFunc(*m, func(e modelEntry) bool { return !e.running() && time.Since(e.used) >= modelMaxAge })
	i := slices.IndexFunc(*m, func(e modelEntry) bool { return e.id == id })
	switch {
	case i < 0 && !m.forget():
		return 0 // shed
	case i < 0:
		*m = append(*m, modelEntry{id: id, body: body})
		return idempotency.New
	case (*m)[i].body != body:
		return idempotency.Mismatch
	case (*m)[i].running():
		return idempotency.InFlight
	}
	m.touch(i, (*m)[i])
	return idempotency.Done
}

func TestLRUModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// All values are drawn outside: rapid and synctest both want their own t.
		type step struct{ Op, ID, Body int }
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				rapid.IntRange(0, 3).Draw(rt, "op"),
				rapid.IntRange(0, 4).Draw(rt, "id"),
				rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "body"),
			}
		}), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			l := newLRU(t, idempotency.WithEntries(modelEntries), idempotency.WithMinAge(modelMinAge), idempotency.WithMaxAge(modelMaxAge))
			var m model
			for n, s := range steps {
				i := slices.IndexFunc(m, func(e modelEntry) bool { return e.id == s.ID && e.running() })
				switch {
				case s.Op == 0:
					time.Sleep(time.Duration(s.ID) * time.Second)
				case s.Op == 1 && i >= 0:
					record := &idempotency.Record{Reply: &rpc.Reply{Body: []byte{byte(s.ID)}}}
					if err := l.Complete(ctx, m[i].token, record); err != nil {
						rt.Fatalf("step %d: Complete(%d): %v", n, s.ID, err)
					}
					e := m[i]
					e.token = idempotency.Token{}
					m.touch(i, e)
				case s.Op == 2 && i >= 0 && s.Body == 1:
					if err := l.Abandon(ctx, m[i].token); err != nil {
						rt.Fatalf("step %d: Abandon(%d): %v", n, s.ID, err)
					}
					m = slices.Delete(m, i, i+1)
				default:
					begun, err := l.Begin(ctx, key(s.ID), idempotency.Fingerprint{byte(s.Body)})
					if want := m.begin(s.ID, s.Body); begun.State != want || (err != nil) != (want == 0) {
						rt.Fatalf("step %d: Begin(%d, %d) = %d, %v, want %d", n, s.ID, s.Body, begun.State, err, want)
					}
					if begun.State == idempotency.New {
						m[len(m)-1].token = begun.Token
					}
					if begun.State == idempotency.Done && begun.Record.Reply.Body[0] != byte(s.ID) {
						rt.Fatalf("step %d: Begin(%d) = the reply of %d", n, s.ID, begun.Record.Reply.Body[0])
					}
				}
				if got := l.Stats().Entries; got > modelEntries {
					rt.Fatalf("step %d: %d entries", n, got)
				}
			}
		})
	})
}
