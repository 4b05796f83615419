package otlp

import (
	"log/slog"
	"sync"
	"time"
)

const sayEvery = 30 * time.Second

// complaints logs what the SDK complains of, such as a collector that is down, and not each time.
type complaints struct {
	log *slog.Logger

	mu   sync.Mutex // guards what follows
	said time.Time
	more int // that were not said since
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.said.IsZero() && time.Since(c.said) < sayEvery {
		c.more++
		return
	}
	c.log.Warn("traces are not exported", "err", err, "more", c.more)
	c.said, c.more = time.Now(), 0
}
