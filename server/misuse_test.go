package server_test

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// What can never work is said at once, and not by a panic in a call or behind it.
func TestNothing(t *testing.T) {
	b := conntest.NewBroker()
	defer b.Close()
	c := b.Connector("server")
	if _, err := server.New(c, "math", server.WithLogger(nil)); err == nil {
		t.Error("a server without a logger: no error")
	}
	s, err := server.New(c, "math")
	if err != nil {
		t.Fatal(err)
	}
	for name, register := range map[string]func(){
		"handler":       func() { s.Handle("double", nil) },
		"typed handler": func() { server.Handle[int, int](s, double, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s that is nil: no panic", name)
				}
			}()
			register()
		}()
	}
}
