package client

import (
	"sync"
	"time"
)

// A budget bounds the retries of one service to a share of its calls, plus a few: an outage must not be amplified. What
// re-sends a request that was lost is not a retry. See "Retry Budgets", https://finagle.github.io/blog/2016/02/08/retry-budgets/
type budget struct {
	mu     sync.Mutex // guards what follows
	tokens float64    // retries
	at     time.Time  // tokens were right
}

const (
	retryShare  = 0.1 // of the calls
	retryPerSec = 5
	retryBurst  = 50
)

func newBudget() *budget { return &budget{tokens: retryBurst / 2, at: time.Now()} }

// earn adds what one call brings.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+retryShare, retryBurst)
}

// spend takes one retry, if there is one.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.tokens+now.Sub(b.at).Seconds()*retryPerSec, retryBurst)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
