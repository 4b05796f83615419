package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/status"
)

type reasonsKey struct{}

// withoutReasons makes a probe that is told whether, and not why.
func withoutReasons(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), reasonsKey{}, true))
}

// livez answers as long as the process does.
func livez(w http.ResponseWriter, r *http.Request) { probe(w, r, "livez", nil) }

// readyz says whether the process is connected and takes calls.
func (c *Config) readyz(w http.ResponseWriter, r *http.Request) { probe(w, r, "readyz", c.Checks()) }

// probe writes what Kubernetes' API server writes: ok; with verbose, or if it is not, each check in a line.
func probe(w http.ResponseWriter, r *http.Request, name string, checks []status.Check) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	ready := status.Ready(checks)
	if ready && !r.URL.Query().Has("verbose") {
		fmt.Fprint(w, "ok")
		return
	}
	withheld := r.Context().Value(reasonsKey{}) != nil
	var b strings.Builder
	b.WriteString("[+]ping ok\n")
	for _, c := range checks {
		mark, verdict, text := "[+]", "ok", ": "+c.Text
		if !c.OK {
			mark, verdict = "[-]", "failed"
		}
		if withheld && c.OK {
			text = ""
		} else if withheld {
			text = ": reason withheld"
		}
		age := time.Duration(c.For * float64(time.Second)).Truncate(time.Second)
		fmt.Fprintf(&b, "%s%s %s for %v%s\n", mark, c.Name, verdict, age, text)
	}
	verdict := "passed"
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		verdict = "failed"
	}
	fmt.Fprintf(w, "%s%s check %s\n", b.String(), name, verdict)
}
