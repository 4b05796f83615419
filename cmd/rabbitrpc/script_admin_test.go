package main

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// asks gets a URL and checks the answer.
func asks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: asks STATUS URL [PATTERN...]")
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(args[1])
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	if got := strconv.Itoa(res.StatusCode); got != args[0] {
		ts.Fatalf("status %s, want %s\n%s", got, args[0], body)
	}
	for _, pattern := range args[2:] {
		if !regexp.MustCompile("(?m)" + pattern).Match(body) {
			ts.Fatalf("no match for %s in\n%s", pattern, body)
		}
	}
}
