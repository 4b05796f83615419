package main

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// truthful is how long /readyz may take to say what is so.
const truthful = time.Second

// A readiness is what /readyz says, asked ten times a second.
type readiness struct {
	t      *testing.T
	url    string
	client http.Client
	stop   func()

	mu      sync.Mutex    // guards what follows
	answers []readyAnswer // since the last look at all of them
}

type readyAnswer struct {
	asked, said time.Time
	ready       bool
	text        string
}

func watchReady(t *testing.T, addr string) *readiness {
	r := &readiness{t: t, url: "http://" + addr + "/readyz", client: http.Client{Timeout: 5 * time.Second}}
	r.stop = repeat(t, 100*time.Millisecond, func() {
		a := r.ask()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.answers = append(r.answers, a)
	})
	t.Cleanup(r.client.CloseIdleConnections)
	return r
}

// repeat does something again and again until stop is called, or the test ends.
func repeat(t *testing.T, every time.Duration, do func()) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			do()
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func (r *readiness) ask() readyAnswer {
	a := readyAnswer{asked: time.Now()}
	res, err := r.client.Get(r.url)
	if err == nil {
		defer res.Body.Close()
		var text []byte
		text, err = io.ReadAll(res.Body)
		a.ready, a.text = res.StatusCode == http.StatusOK, string(text)
	}
	if err != nil {
		a.text = err.Error()
	}
	a.said = time.Now()
	return a
}

func (r *readiness) all() []readyAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answers
}

// stays checks that it has been ready all the time, or from a second after a time on, and forgets the answers.
func (r *readiness) stays(since time.Time) {
	r.t.Helper()
	for _, a := range r.all() {
		if a.asked.Sub(since) > truthful && !a.ready {
			r.t.Errorf("%v after all services have answered, /readyz says %q", a.asked.Sub(since), a.text)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = nil
}

// isNot checks that it is not ready from a second after the broker was gone until it is to come back, and returns how long it
// took to say so.
func (r *readiness) isNot(gone, back time.Time) (took time.Duration) {
	r.t.Helper()
	said := false
	for _, a := range r.all() {
		if after := a.asked.Sub(gone); a.ready && after > truthful && a.asked.Before(back) {
			r.t.Errorf("%v after the end of the broker, /readyz says %q", after, a.text)
		}
		if !said && !a.ready {
			took, said = a.said.Sub(gone), true
		}
	}
	if !said || took > truthful {
		r.t.Errorf("/readyz takes %v to say that the broker is gone", took)
	}
	return took
}

// becomes waits until it is ready, and returns when it has said so.
func (r *readiness) becomes(start time.Time) time.Time {
	r.t.Helper()
	for {
		for _, a := range r.all() {
			if a.ready && a.asked.After(start) {
				return a.said
			}
		}
		if time.Since(start) > 2*patience {
			r.t.Fatalf("/readyz is not ready %v after the start of the broker: %s", time.Since(start), r.ask().text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
