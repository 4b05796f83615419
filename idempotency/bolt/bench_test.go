package bolt

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// BenchmarkCall is the cost of Begin and Complete of a new call, syncs to disk included.
func BenchmarkCall(b *testing.B) {
	record := &idempotency.Record{Reply: &rpc.Reply{ContentType: "application/json", Body: []byte("832040"), Server: "math-1"}}
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b, newFile(b))
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						key := idempotency.Key{User: "guest", Client: "billing", Service: "math", Method: "fib", ID: fmt.Sprintf("%032x", i)}
						begun, err := s.Begin(b.Context(), key, idempotency.Fingerprint{})
						if err == nil {
							err = s.Complete(b.Context(), begun.Token, record)
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(s.Stats().Commits)/float64(b.N), "commits/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}
