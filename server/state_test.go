package server_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestState follows a server through its life: what it says is so from the moment that it is so.
func TestState(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var p *process
		in := func(phase server.Phase, age time.Duration, failed bool) {
			t.Helper()
			synctest.Wait()
			s := p.State()
			if s.Phase != phase || time.Since(s.Since) != age || (s.Err != nil) != failed {
				t.Errorf("%v for %v, error %v; want %v for %v, error: %t", s.Phase, time.Since(s.Since), s.Err, phase, age, failed)
			}
		}
		var runs counter
		r.conn.Freeze()
		p = r.launch(r.conn, func(s *server.Server) { server.Handle(s, double, slow(5*time.Second, &runs)) })
		time.Sleep(time.Second)
		in(server.Waiting, time.Second, false)
		r.conn.Thaw()
		time.Sleep(time.Second)
		in(server.Serving, time.Second, false)

		p.Pause()
		in(server.Paused, 0, false)
		r.conn.Lose()
		in(server.Paused, 0, false)
		p.Resume()
		in(server.Serving, 0, false)

		time.Sleep(time.Second)
		r.broker.Stop()
		in(server.Waiting, 0, true)
		time.Sleep(time.Second)
		in(server.Waiting, time.Second, true)
		r.broker.Start()
		in(server.Serving, 0, false)
		if s := p.State(); s.Phase.String() != "serving" {
			t.Errorf("phase is written %q", s.Phase)
		}
	})
}

// TestStateOfDrain: from the first moment of a drain it takes no calls, whatever still runs, and however long its consumer takes
// to end.
func TestStateOfDrain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		p := r.start(r.conn, slow(5*time.Second, &runs))
		r.send(r.request("21"))
		synctest.Wait()
		r.conn.Freeze()
		p.cancel()
		synctest.Wait()
		r.conn.Thaw()
		if s := p.State(); s.Phase != server.Draining || runs.ran() != 1 {
			t.Errorf("%v with %d runs, want draining with 1", s.Phase, runs.ran())
		}
		<-p.stopped
		if s := p.State(); s.Phase != server.Stopped || time.Since(s.Since) != 0 {
			t.Errorf("%v for %v, want stopped", s.Phase, time.Since(s.Since))
		}
		if got := summary(r.replies()); got != "[42]" {
			t.Errorf("got %s", got)
		}
	})
}
