package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A throttle keeps strangers from filling the log: it lets one record a second through, with the number of those that it
// did not.
type throttle struct {
	mu      sync.Mutex // guards what follows
	last    time.Time
	skipped int
}

func (t *throttle) warn(ctx context.Context, log *slog.Logger, text string, args ...any) {
	t.mu.Lock()
	if time.Since(t.last) < time.Second {
		t.skipped++
		t.mu.Unlock()
		return
	}
	skipped := t.skipped
	t.last, t.skipped = time.Now(), 0
	t.mu.Unlock()
	if skipped > 0 {
		args = append(args, "more", skipped)
	}
	log.WarnContext(ctx, text, args...)
}
