package client

import (
	"slices"
	"strconv"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// What is announced is what changes for people.
func TestAnnounced(t *testing.T) {
	var got []string
	s := newServices(func(_, presence string) { got = append(got, presence) })
	svc := s.get("math", func() *service { return &service{} })
	s.learn(svc, "q", present)
	s.learn(svc, "q", present)
	s.deny(svc, "q", conn.ErrRefused)
	s.deny(svc, "q", conn.ErrNotFound)
	s.deny(svc, "q", conn.ErrNotFound)
	s.learn(svc, "q", missing)
	s.learn(svc, "q", present)
	if want := []string{"present", "denied", "missing", "present"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A service that is not called any more keeps no session that is over, with all its buffers.
func TestReconnectedForgetsSession(t *testing.T) {
	s := newServices(nil)
	svc := s.get("math", func() *service { return &service{} })
	for _, state := range []presence{present, missing, denied} {
		svc.state = state
		s.foundExchange(svc, struct{ conn.Session }{})
		if s.reconnected(); svc.exchangeIn != nil {
			t.Errorf("%v: the session is kept", state)
		}
	}
}

// A service that was forgotten, since many others were called, while calls to it are out, hears of a new session all the same.
func TestReconnectedForgottenService(t *testing.T) {
	s := newServices(nil)
	svc := s.get("math", func() *service { return &service{} })
	s.learn(svc, "q", present)
	for i := range maxServices {
		s.get(strconv.Itoa(i), func() *service { return &service{} })
	}
	s.reconnected()
	if known, _ := s.known(svc, false, false); known != unknown || !s.returning(svc) || s.silence(svc, false) == 0 {
		t.Errorf("got %v, returning %v, want unknown, and to be listened for", known, s.returning(svc))
	}
	s.learn(svc, "q", present)
	s.hear(svc, false)
	if known, _ := s.known(svc, false, false); known != present {
		t.Errorf("got %v, want it told once", known)
	}
	fresh := s.get("fresh", func() *service { return &service{} })
	s.learn(fresh, "q", present)
	if known, _ := s.known(fresh, false, false); known != present {
		t.Errorf("a new one: got %v, want present", known)
	}
}
