package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// BenchmarkCall is Begin and Complete of a new call, as many at a time as its name says.
func BenchmarkCall(b *testing.B) {
	for _, m := range modes {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", m.name, callers), func(b *testing.B) {
				s := open(b, testpostgres.URL(b), append(m.options, postgres.WithConnections(callers))...)
				benchmark(b, s, callers)
			})
		}
	}
}

func benchmark(b *testing.B, s *postgres.Store, callers int) {
	var next, again atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				for !call(b, s, keyOf(fmt.Sprint(n))) {
					again.Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(again.Load())/float64(b.N), "again/op")
}

// call is false if the call was undone.
func call(b *testing.B, s *postgres.Store, key idempotency.Key) bool {
	begun, err := s.Begin(context.Background(), key, idempotency.Fingerprint{})
	if err != nil {
		b.Error(err)
		return true
	}
	if begun.State != idempotency.New {
		return false
	}
	record := &idempotency.Record{Reply: &rpc.Reply{ContentType: "application/json", Body: []byte("832040"), Server: "math-1"}}
	return s.Complete(context.Background(), begun.Token, record) == nil
}
