package config

import (
	"log/slog"
	"regexp"
	"strings"
)

// URL is one URL or several, separated by commas, that may have a password in it. It shows without user, password and
// parameters, however it is printed; convert it to a string for the rest.
type URL string

// next is where a URL of a list begins.
var next = regexp.MustCompile(`\s*,\s*[a-z]+://`)

// String returns the URL as it may be shown. Other forms, such as key=value for PostgreSQL, are not shown at all.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	var shown []string
	rest := string(u)
	for rest != "" {
		one := rest
		rest = ""
		if at := next.FindStringIndex(one); at != nil {
			one, rest = one[:at[0]], strings.TrimLeft(one[at[0]:], " ,")
		}
		shown = append(shown, redact(one))
	}
	return strings.Join(shown, ",")
}

func redact(one string) string {
	scheme, rest, ok := strings.Cut(one, "://")
	if !ok {
		return "***"
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 { // who forgets to encode a password may have any character in it
		rest = "***" + rest[at:]
	}
	if address, _, ok := strings.Cut(rest, "?"); ok {
		rest = address + "?***"
	}
	return scheme + "://" + rest
}

// GoString is String, for %#v.
func (u URL) GoString() string { return u.String() }

// LogValue is String, for logs.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText is String, for JSON and the like.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
