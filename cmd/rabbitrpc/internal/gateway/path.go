package gateway

import (
	"net/http"
	"strings"
)

// target is what a path of the form /call/SERVICE/METHOD names. A method may have slashes.
func target(r *http.Request) (service, method string, ok bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/call/")
	service, method, both := strings.Cut(rest, "/")
	return service, method, ok && both && service != "" && method != ""
}

// headerValue replaces what a header cannot have. Call IDs and the names of servers are chosen by others.
func headerValue(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
