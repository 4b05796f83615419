package conn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// While nobody listens the dials go on at a pace that soon notices a broker; one that is there and in trouble is left alone.
func TestPaceOfDials(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		name     string
		fail     func(addr string) error
		min, max int // dials of one URL in ten minutes
	}{
		{"nobody listens", func(string) error { return refused }, 1200, 1200 * 4},
		{"in trouble", func(string) error { return errors.New("reset") }, 40, 200},
		{"one of two in trouble", func(addr string) error {
			if addr == "a:5672" {
				return refused
			}
			return errors.New("reset")
		}, 40, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int64
				var said bytes.Buffer // written by one goroutine
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				_, err := Open(ctx, "amqp://a,amqp://b", WithLogger(slog.New(slog.NewTextHandler(&said, nil))),
					WithDialer(func(_ context.Context, _, addr string) (net.Conn, error) {
						dials.Add(1)
						return nil, fmt.Errorf("dial: %w", tt.fail(addr))
					}))
				if !errors.Is(err, ErrNotConnected) {
					t.Errorf("got %v, want not connected", err)
				}
				// Two connections to each of two URLs in a round.
				if n := int(dials.Load()) / 4; n < tt.min || n > tt.max {
					t.Errorf("%d rounds of dials in 10 minutes, want %d to %d", n, tt.min, tt.max)
				}
				if n := bytes.Count(said.Bytes(), []byte("cannot connect")); n < 25 || n > 65 { // the waits in between may be longer
					t.Errorf("it was said %d times in 10 minutes, want about every ten seconds", n)
				}
			})
		})
	}
}

// However small the first wait may be, those that follow grow.
func TestSmallestBackoff(t *testing.T) {
	wait := newBackoff(1, time.Second)
	var longest time.Duration
	for range 100 {
		longest = max(longest, wait.NextBackOff())
	}
	if longest < 100*time.Millisecond || longest > time.Second {
		t.Errorf("the longest of 100 waits is %v, want almost a second", longest)
	}
}
