package conn

import (
	"testing"
	"testing/synctest"
)

// With its session a consumer ends after the delivery that it is at, however many it has been handed.
func TestBacklogEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backlog
		b.init()
		for range 100 {
			b.add(&Delivery{})
		}
		done, handled := make(chan struct{}), 0
		b.run(done, func(*Delivery) {
			if handled++; handled == 3 {
				close(done)
			}
		})
		if handled != 3 {
			t.Errorf("%d were handled, want 3", handled)
		}
	})
}
