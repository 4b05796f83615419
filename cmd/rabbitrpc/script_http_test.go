package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// upstream starts an HTTP server, whose address is $UPSTREAM then.
func upstream(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: upstream")
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/rpc/get":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"key": %q, "traceparent": %q, "authorization": %q, "body": `, r.Header.Get("Idempotency-Key"),
				r.Header.Get("Traceparent"), r.Header.Get("Authorization"))
			io.Copy(w, r.Body)
			io.WriteString(w, "}")
		case "/rpc/busy":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"title": "Not Found", "detail": "no order 7"}`)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv("UPSTREAM", s.URL)
}

// post makes a request, and prints its status, headers and body.
func post(ts *testscript.TestScript, neg bool, args []string) {
	header := make(http.Header)
	for len(args) > 1 && args[0] == "-H" {
		name, value, _ := strings.Cut(args[1], ": ")
		header.Set(name, value)
		args = args[2:]
	}
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: post [-H 'NAME: VALUE']... URL [BODY]")
	}
	req, err := http.NewRequest(http.MethodPost, args[0], strings.NewReader(strings.Join(args[1:], "")))
	ts.Check(err)
	req.Header = header
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	var out bytes.Buffer
	fmt.Fprintln(&out, resp.StatusCode)
	ts.Check(resp.Header.Write(&out))
	_, err = io.Copy(&out, resp.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write(append(out.Bytes(), '\n'))
	ts.Check(err)
}
