package admin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/token"
)

// A guard decides who is answered at all.
type guard struct {
	token string // "" for none
	next  http.Handler
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "nothing can be changed here: GET and HEAD only", http.StatusMethodNotAllowed)
	case g.token == "" && !anonymousHost(r.Host):
		http.Error(w, "ask by an IP address or as localhost: other names are answered with a token only", http.StatusMisdirectedRequest)
	case foreign(r):
		http.Error(w, "pages of other sites are not answered", http.StatusForbidden)
	case !isProbe(r) && !g.knows(r):
		h.Add("WWW-Authenticate", `Bearer realm="rabbitrpc admin"`)
		h.Add("WWW-Authenticate", `Basic realm="rabbitrpc admin, the token is the password", charset="UTF-8"`)
		http.Error(w, "the admin token is missing or wrong", http.StatusUnauthorized)
	default:
		if isProbe(r) && !g.knows(r) {
			r = withoutReasons(r)
		}
		g.next.ServeHTTP(w, r)
	}
}

func isProbe(r *http.Request) bool { return r.URL.Path == "/livez" || r.URL.Path == "/readyz" }

// knows reports whether who asks knows the token, if there is one.
func (g *guard) knows(r *http.Request) bool {
	if g.token == "" {
		return true
	}
	_, said, basic := r.BasicAuth()
	if !basic {
		said = token.Of(r)
	}
	return token.Same(said, g.token)
}

// anonymousHost reports whether a host is none that somebody else could have given an address on this machine.
func anonymousHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// foreign reports whether a page of another site has a browser ask. A link to the status page is no such thing.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err != nil || u.Host != r.Host
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}
