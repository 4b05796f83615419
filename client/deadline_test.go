package client

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// TestDeadlines wakes each call that waits at its deadline, in whatever order they come and go.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPending()
		start := time.Now()
		waiting := make(map[*call]bool)
		for n := range 2000 {
			timeout := time.Duration(1+rand.IntN(1000)) * time.Millisecond
			c := newCall(withTimeout(context.Background(), timeout), &rpc.Request{ID: strconv.Itoa(n)})
			p.add(c)
			waiting[c] = true
			if n%3 == 0 {
				for c := range waiting {
					p.remove(c, false)
					delete(waiting, c)
					break
				}
			}
		}
		for range 1100 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for c := range waiting {
				if due := !c.own.At().After(time.Now()); due != (len(c.news) == 1) {
					t.Fatalf("after %v a call with %v was woken: %v", time.Since(start), c.own.At().Sub(start), !due)
				}
				if len(c.news) == 1 {
					p.remove(c, false)
					delete(waiting, c)
				}
			}
		}
		if len(waiting)+len(p.deadlines)+len(p.calls) != 0 || !p.alarmAt.IsZero() {
			t.Errorf("%d of %d calls are left, %d deadlines, alarm at %v", len(waiting), len(p.calls), len(p.deadlines), p.alarmAt)
		}
	})
}
