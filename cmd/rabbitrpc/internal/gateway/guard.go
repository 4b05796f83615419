package gateway

import (
	"net"
	"net/http"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/token"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// admit returns why a request is refused before anything of it is looked at, or nil.
//
// A page that somebody looks at can have a browser send a request here, with any content type if it does not need the answer
// or has made DNS say that its own name is this host. But browsers add Origin to each POST, and Sec-Fetch-Site.
func (s *settings) admit(r *http.Request) *rpc.Error {
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case r.Header.Get("Origin") != "" || site != "" && site != "none":
		return refused(rpc.PermissionDenied, "web pages may not call: the request has an Origin or a Sec-Fetch-Site")
	case s.token == "" && !s.Open && !config.IsLoopback(hostOf(r.Host)):
		return refused(rpc.PermissionDenied, "the request is for a host that is not this one: use localhost or a loopback address")
	case s.token != "" && !token.Same(token.Of(r), s.token):
		return refused(rpc.Unauthenticated, "the request needs an Authorization: Bearer with the gateway's token")
	}
	return nil
}

// hostOf is the host of a Host header, which may have a port, or an IPv6 address in brackets without.
func hostOf(header string) string {
	if host, _, err := net.SplitHostPort(header); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
}

// refused is an error of the gateway itself.
func refused(code rpc.Code, format string, args ...any) *rpc.Error {
	return rpc.Errorf(code, format, args...).WithExecuted(rpc.ExecutedNo)
}
