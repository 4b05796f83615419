package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
)

const maxProfile = 60 // seconds

// profiles is net/http/pprof with a bound on their length, and without the arguments of the process, which may have a password
// in a URL.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := r.FormValue("seconds"); s != "" {
			if n, err := strconv.ParseFloat(s, 64); err != nil || !(n >= 0 && n <= maxProfile) {
				http.Error(w, fmt.Sprintf("seconds must be 0 to %d", maxProfile), http.StatusBadRequest)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}
