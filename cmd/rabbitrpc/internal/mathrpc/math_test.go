package mathrpc_test

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/mathrpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestFibonacci(t *testing.T) {
	a, b := big.NewInt(0), big.NewInt(1)
	for n := range mathrpc.MaxN + 1 {
		if got, err := mathrpc.Fibonacci(n); err != nil || !a.IsUint64() || got != a.Uint64() {
			t.Errorf("%d: got %d, %v, want %v", n, got, err, a)
		}
		a, b = b, a.Add(a, b)
	}
	if a.IsUint64() {
		t.Errorf("%d would do, too", mathrpc.MaxN+1)
	}
	for _, n := range []int{-1, mathrpc.MaxN + 1, -1 << 63, 1<<63 - 1} {
		_, err := mathrpc.Fibonacci(n)
		if want := fmt.Sprintf("invalid_argument: n must be 0 to 93, got %d", n); err == nil || err.Error() != want {
			t.Errorf("%d: got %v, want %s", n, err, want)
		}
		if rpc.Executed(err) != rpc.ExecutedNo {
			t.Errorf("%d: executed %v, want no", n, rpc.Executed(err))
		}
	}
}
