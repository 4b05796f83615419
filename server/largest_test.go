package server

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

func TestLargest(t *testing.T) {
	const text = "PRECONDITION_FAILED - message size 20 is larger than configured max size 10"
	for _, tt := range []struct {
		name string
		own  int
		err  error
		want int
	}{
		{"the broker takes less", 100, &conn.Error{Code: 406, Reason: text}, 10},
		{"the broker takes more", 5, &conn.Error{Code: 406, Reason: text}, 5},
		{"another reason", 100, &conn.Error{Code: 406, Reason: "PRECONDITION_FAILED - unknown delivery tag 1"}, 100},
		{"not of the broker", 100, errors.New(text), 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := largest{own: tt.own}
			if l.learn(tt.err); l.get() != tt.want {
				t.Errorf("%s: got %d, want %d", tt.name, l.get(), tt.want)
			}
			if time.Sleep(relearn); l.get() != tt.own {
				t.Errorf("%s: got %d after a while, want %d", tt.name, l.get(), tt.own)
			}
		})
	}
}
