package conn_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// Hooks are told of all that happens, in its order, before anybody can use the session; of several each.
func TestHooks(t *testing.T) {
	broker := proxy(t, testbroker.URL(t))
	var mu sync.Mutex
	var told [2][]string
	failed := make(chan struct{}, 1)
	hooks := func(who int) conn.Option {
		say := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			if n := len(told[who]); n == 0 || told[who][n-1] != what { // dials fail any number of times
				told[who] = append(told[who], what)
			}
		}
		return conn.WithHooks(conn.Hooks{
			Connected: func(after time.Duration) {
				if say("connected"); after <= 0 {
					t.Errorf("connected after %v", after)
				}
			},
			Lost: func(err error, age time.Duration) {
				if say("lost"); err == nil || age <= 0 {
					t.Errorf("lost after %v: %v", age, err)
				}
			},
			DialFailed: func(err error) {
				if say("failed"); err == nil {
					t.Error("failed without an error")
				}
				select {
				case failed <- struct{}{}:
				default:
				}
			},
		})
	}
	m := open(t, broker.URL(), hooks(0), conn.WithHooks(conn.Hooks{}), hooks(1))
	session(t, m)
	broker.Inject(chaos.Refuse{})
	broker.Inject(chaos.Reset{})
	<-failed
	broker.Heal()
	session(t, m)
	mu.Lock()
	defer mu.Unlock()
	want := []string{"connected", "lost", "failed", "connected"}
	if !slices.Equal(told[0], want) || !slices.Equal(told[1], want) {
		t.Errorf("told %q and %q, want %q", told[0], told[1], want)
	}
}
