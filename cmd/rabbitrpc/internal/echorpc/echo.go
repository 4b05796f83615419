// Package echorpc is a kind of service that answers with what it was sent, to try a broker, rights and callers.
package echorpc

import (
	"context"
	"log/slog"

	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Method is the name of the one method.
const Method = "echo"

// Kind is the kind of service.
type Kind struct{}

// Check finds nothing wrong: there is nothing to set.
func (*Kind) Check() error { return nil }

// Methods returns the name of the one method.
func (*Kind) Methods() []string { return []string{Method} }

// Serve makes s answer each request with its own content type and body.
func (*Kind) Serve(s *server.Server, _ *slog.Logger) (func(), error) {
	s.Handle(Method, func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
		return &rpc.Reply{ContentType: r.ContentType, Body: r.Body}, nil
	})
	return func() {}, nil
}
