package admin

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/status"
)

const secret = "a token of more than sixteen bytes"

// handler is what answers, without a listener.
func handler(token string) http.Handler {
	c := (&fake{status: busy()}).config("")
	return &guard{token: token, next: c.routes()}
}

func ask(h http.Handler, path string, edits ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "127.0.0.1:9672"
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestGuard(t *testing.T) {
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	method := func(name string) func(*http.Request) { return func(r *http.Request) { r.Method = name } }
	nobody := func(*http.Request) {}
	bearer := header("Authorization", "Bearer "+secret)
	basic := func(r *http.Request) { r.SetBasicAuth("anybody", secret) }
	for _, tt := range []struct {
		name, token, path string
		edit              func(*http.Request)
		want              int
	}{
		{"loopback", "", "/status.json", nobody, 200},
		{"loopback, IPv6", "", "/", host("[::1]:9672"), 200},
		{"loopback by name", "", "/", host("LocalHost"), 200},
		{"forwarded from another port", "", "/", host("localhost:8080"), 200},
		{"pod by its address", "", "/readyz", host("10.2.3.4:9672"), 200},
		{"rebound name", "", "/status.json", host("attacker.example:9672"), 421},
		{"rebound name, probe", "", "/readyz", host("attacker.example"), 421},
		{"name that begins like loopback", "", "/", host("127.0.0.1.attacker.example"), 421},
		{"no host", "", "/", host(""), 421},
		{"any name, with the token", secret, "/metrics", func(r *http.Request) { bearer(r); r.Host = "node.example" }, 200},

		{"no token", secret, "/", nobody, 401},
		{"no token, metrics", secret, "/metrics", nobody, 401},
		{"no token, profiles", secret, "/debug/pprof/", nobody, 401},
		{"no token, data", secret, "/status.json", nobody, 401},
		{"no token, nothing there", secret, "/secret", nobody, 401},
		{"no token, probe", secret, "/readyz", nobody, 200},
		{"no token, path that ends like a probe", secret, "/x/../livez/", nobody, 401},
		{"bearer", secret, "/", bearer, 200},
		{"bearer in lower case", secret, "/", header("Authorization", "bearer "+secret), 200},
		{"password", secret, "/", basic, 200},
		{"token as the user", secret, "/", func(r *http.Request) { r.SetBasicAuth(secret, "") }, 401},
		{"wrong token", secret, "/", header("Authorization", "Bearer "+secret+"x"), 401},
		{"beginning of the token", secret, "/", header("Authorization", "Bearer "+secret[:20]), 401},
		{"empty token", secret, "/", header("Authorization", "Bearer "), 401},
		{"other scheme", secret, "/", header("Authorization", "Digest "+secret), 401},

		{"other method", "", "/status.json", method("POST"), 405},
		{"method of our own", secret, "/", method("RELOAD"), 405},
		{"head", "", "/", method("HEAD"), 200},
		{"other origin", "", "/debug/pprof/profile", header("Origin", "https://attacker.example"), 403},
		{"origin of a file", "", "/status.json", header("Origin", "null"), 403},
		{"own origin", "", "/status.json", header("Origin", "http://127.0.0.1:9672"), 200},
		{"image on another site", "", "/debug/pprof/heap", header("Sec-Fetch-Site", "cross-site"), 403},
		{"other port of this host", "", "/status.json", header("Sec-Fetch-Site", "same-site"), 403},
		{"the page itself asks", "", "/status.json", header("Sec-Fetch-Site", "same-origin"), 200},
		{"address typed in", "", "/metrics", header("Sec-Fetch-Site", "none"), 200},
		{"link on another site", "", "/", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
		}, 200},
		{"link to a profile on another site", "", "/debug/pprof/profile", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
		}, 403},

		{"nothing there", "", "/admin", nobody, 404},
		{"arguments of the process", "", "/debug/pprof/cmdline", nobody, 404},
		{"profile", "", "/debug/pprof/heap?debug=1", nobody, 200},
		{"profile that is too long", "", "/debug/pprof/profile?seconds=61", nobody, 400},
		{"difference that is too long", "", "/debug/pprof/heap?seconds=1e9", nobody, 400},
		{"profile of no length", "", "/debug/pprof/trace?seconds=NaN", nobody, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := ask(handler(tt.token), tt.path, tt.edit)
			if res.StatusCode != tt.want {
				body, _ := io.ReadAll(res.Body)
				t.Errorf("status %d, want %d: %s", res.StatusCode, tt.want, body)
			}
			if got := len(res.Header["Www-Authenticate"]); (got == 2) != (tt.want == 401) {
				t.Errorf("%d ways to authenticate are named", got)
			}
			if tt.want == 405 && res.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("allows %q", res.Header.Get("Allow"))
			}
			for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Cache-Control"} {
				if res.Header.Get(name) == "" {
					t.Errorf("no %s", name)
				}
			}
			if p := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; ") || strings.Contains(p, "unsafe") {
				t.Errorf("policy %q", p)
			}
		})
	}
}

func TestProbes(t *testing.T) {
	ready := busy().Checks
	broken := []status.Check{ready[0], {Name: "service math", For: 2.9, Text: "waiting: declare queue rabbitrpc.math: access refused"}}
	draining := []status.Check{ready[0], {Name: "service math", For: 0.2, Text: "draining"}}
	for _, tt := range []struct {
		name, path string
		checks     []status.Check
		withheld   bool
		code       int
		want       string
	}{
		{"live", "/livez", broken, false, 200, "ok"},
		{"live, verbose", "/livez?verbose", broken, false, 200, "[+]ping ok\nlivez check passed\n"},
		{"ready", "/readyz", ready, false, 200, "ok"},
		{"ready, verbose", "/readyz?verbose", ready, false, 200,
			"[+]ping ok\n[+]broker ok for 2h3m4s: connected to amqp://127.0.0.1:5672\n[+]service math ok for 2h3m4s: serving\nreadyz check passed\n"},
		{"nothing to check", "/readyz", nil, false, 200, "ok"},
		{"draining", "/readyz", draining, false, 503,
			"[+]ping ok\n[+]broker ok for 2h3m4s: connected to amqp://127.0.0.1:5672\n[-]service math failed for 0s: draining\nreadyz check failed\n"},
		{"to who has no token", "/readyz", broken, true, 503,
			"[+]ping ok\n[+]broker ok for 2h3m4s\n[-]service math failed for 2s: reason withheld\nreadyz check failed\n"},
		{"to who has", "/readyz?verbose", broken, false, 503,
			"[+]ping ok\n[+]broker ok for 2h3m4s: connected to amqp://127.0.0.1:5672\n" +
				"[-]service math failed for 2s: waiting: declare queue rabbitrpc.math: access refused\nreadyz check failed\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{status: status.Status{Checks: tt.checks}}
			c := f.config("")
			g := &guard{token: secret, next: c.routes()}
			var edits []func(*http.Request)
			if !tt.withheld {
				edits = append(edits, header("Authorization", "Bearer "+secret))
			}
			res := ask(g, tt.path, edits...)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.code || string(body) != tt.want {
				t.Errorf("got %d:\n%s\nwant %d:\n%s", res.StatusCode, body, tt.code, tt.want)
			}
			if got := res.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("content type %q", got)
			}
		})
	}
}
