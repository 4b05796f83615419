package idempotency_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// model is an LRU without bytes, as a plain list of calls: who is used moves to
// the end. There are two tenants, with even and with odd calls.
type model struct {
	calls []modelEntry
	share int // calls that a tenant may have
}

type modelEntry struct {
	id, body int
	token    idempotency.Token // of the LRU; running while it has a key
	used     time.Time
}

func (e modelEntry) running() bool { return e.token.Fence != 0 }

const (
	modelEntries = 4
	modelMinAge  = 2 * time.Second
	modelMaxAge  = 6 * time.Second
)

// expire drops what is too old.
func (m *model) expire() {
	m.calls = slices.DeleteFunc(m.calls, func(e modelEntry) bool { return !e.running() && time.Since(e.used) >= modelMaxAge })
}

// room drops one of the calls that count, if there are as many as there may be. It is false if none may go.
func (m *model) room(most int, counts func(modelEntry) bool) bool {
	n := 0
	for _, e := range m.calls {
		if counts(e) {
			n++
		}
	}
	if n < most {
		return true
	}
	i := slices.IndexFunc(m.calls, func(e modelEntry) bool { return counts(e) && !e.running() })
	if i < 0 || time.Since(m.calls[i].used) < modelMinAge {
		return false
	}
	m.calls = slices.Delete(m.calls, i, i+1)
	return true
}

func (m *model) touch(i int, e modelEntry) {
	e.used = time.Now()
	m.calls = append(slices.Delete(m.calls, i, i+1), e)
}

func (m *model) begin(id, body int) (want idempotency.State) {
	m.expire()
	i := slices.IndexFunc(m.calls, func(e modelEntry) bool { return e.id == id })
	switch {
	case i < 0:
		own := func(e modelEntry) bool { return e.id%2 == id%2 }
		if !m.room(m.share, own) || !m.room(modelEntries, func(modelEntry) bool { return true }) {
			return 0 // shed
		}
		m.calls = append(m.calls, modelEntry{id: id, body: body})
		return idempotency.New
	case m.calls[i].body != body:
		return idempotency.Mismatch
	case m.calls[i].running():
		return idempotency.InFlight
	}
	m.touch(i, m.calls[i])
	return idempotency.Done
}

func TestLRUModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// All values are drawn outside: rapid and synctest both want their own t.
		type step struct{ Op, ID, Body int }
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				rapid.IntRange(0, 3).Draw(rt, "op"),
				rapid.IntRange(0, 7).Draw(rt, "id"),
				rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "body"),
			}
		}), 1, 60).Draw(rt, "steps")
		share := rapid.IntRange(1, modelEntries).Draw(rt, "share")
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			l := newLRU(t, idempotency.WithEntries(modelEntries), idempotency.WithMinAge(modelMinAge), idempotency.WithMaxAge(modelMaxAge),
				idempotency.WithTenantShare(float64(share)/modelEntries))
			m := model{share: share}
			for n, s := range steps {
				i := slices.IndexFunc(m.calls, func(e modelEntry) bool { return e.id == s.ID && e.running() })
				switch {
				case s.Op == 0:
					time.Sleep(time.Duration(s.ID) * time.Second)
				case s.Op == 1 && i >= 0:
					record := &idempotency.Record{Reply: &rpc.Reply{Body: []byte{byte(s.ID)}}}
					if err := l.Complete(ctx, m.calls[i].token, record); err != nil {
						rt.Fatalf("step %d: Complete(%d): %v", n, s.ID, err)
					}
					e := m.calls[i]
					e.token = idempotency.Token{}
					m.touch(i, e)
				case s.Op == 2 && i >= 0 && s.Body == 1:
					if err := l.Abandon(ctx, m.calls[i].token); err != nil {
						rt.Fatalf("step %d: Abandon(%d): %v", n, s.ID, err)
					}
					m.calls = slices.Delete(m.calls, i, i+1)
				default:
					begun, err := l.Begin(ctx, idempotency.Key{User: fmt.Sprint(s.ID % 2), ID: fmt.Sprint(s.ID)}, idempotency.Fingerprint{byte(s.Body)})
					if want := m.begin(s.ID, s.Body); begun.State != want || (err != nil) != (want == 0) {
						rt.Fatalf("step %d: Begin(%d, %d) = %d, %v, want %d", n, s.ID, s.Body, begun.State, err, want)
					}
					if begun.State == idempotency.New {
						m.calls[len(m.calls)-1].token = begun.Token
					}
					if begun.State == idempotency.Done && begun.Record.Reply.Body[0] != byte(s.ID) {
						rt.Fatalf("step %d: Begin(%d) = the reply of %d", n, s.ID, begun.Record.Reply.Body[0])
					}
				}
				if got := l.Stats().Entries; got > modelEntries {
					rt.Fatalf("step %d: %d entries", n, got)
				}
			}
			for _, e := range m.calls {
				_ = l.Abandon(ctx, e.token) // lost, if it was completed
			}
			time.Sleep(modelMaxAge)
			begun, err := l.Begin(ctx, idempotency.Key{}, idempotency.Fingerprint{})
			if err != nil || l.Abandon(ctx, begun.Token) != nil {
				rt.Fatalf("in the end: Begin = state %d, %v", begun.State, err)
			}
			if got := l.Stats(); got.Entries != 0 || got.Bytes != 0 {
				rt.Fatalf("in the end: %d entries and %d bytes are left", got.Entries, got.Bytes)
			}
		})
	})
}
