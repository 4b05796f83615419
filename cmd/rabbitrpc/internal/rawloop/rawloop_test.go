package rawloop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

func TestMain(m *testing.M) { testbroker.Main(m) }

func connect(t *testing.T, safe bool, handle func([]byte) []byte) *Client {
	t.Helper()
	queue := "rawloop-" + t.Name()
	s, err := Serve(testbroker.URL(t), queue, 4, safe, handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, err := Dial(testbroker.URL(t), queue, safe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCall(t *testing.T) {
	for name, safe := range map[string]bool{"raw": false, "safe": true} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, safe, bytes.ToUpper)
			var wg sync.WaitGroup
			for caller := range 8 {
				wg.Go(func() {
					for i := range 20 {
						body := fmt.Sprintf("%d-%d-x", caller, i)
						got, err := c.Call(t.Context(), []byte(body))
						if err != nil || string(got) != strings.ToUpper(body) {
							t.Errorf("got %q, %v, want %q in capitals", got, err, body)
						}
					}
				})
			}
			wg.Wait()
			if n := len(c.calls); n != 0 {
				t.Errorf("%d calls still wait, want none", n)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	release := make(chan struct{})
	c := connect(t, false, func(body []byte) []byte { <-release; return body })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Call(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if n := len(c.calls); n != 0 {
		t.Errorf("%d calls still wait, want none", n)
	}
}

func TestLost(t *testing.T) {
	release := make(chan struct{})
	reached := make(chan struct{})
	c := connect(t, false, func(body []byte) []byte { close(reached); <-release; return body })
	defer close(release)
	go func() {
		<-reached
		c.Close()
	}()
	if _, err := c.Call(t.Context(), nil); !errors.Is(err, ErrLost) {
		t.Errorf("a call in flight: got %v, want %v", err, ErrLost)
	}
	if _, err := c.Call(t.Context(), nil); !errors.Is(err, ErrLost) {
		t.Errorf("a call afterwards: got %v, want %v", err, ErrLost)
	}
}

func TestWaiting(t *testing.T) {
	release := make(chan struct{})
	handle := func(body []byte) []byte { <-release; return body }
	queue := "rawloop-" + t.Name()
	s, err := Serve(testbroker.URL(t), queue, 1, true, handle)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer close(release)
	c, err := Dial(testbroker.URL(t), queue, true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	defer calls.Wait()
	defer cancel()
	for range 3 {
		calls.Go(func() { c.Call(ctx, nil) })
	}
	for n := 0; n != 2; {
		if n, err = s.Waiting(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoBroker(t *testing.T) {
	const nobody = "amqp://127.0.0.1:1"
	if _, err := Dial(nobody, "q", false); err == nil {
		t.Error("Dial: no error")
	}
	if _, err := Serve(nobody, "q", 1, false, nil); err == nil {
		t.Error("Serve: no error")
	}
}
