package config

import "log/slog"

// Hidden is text that may be a secret, and never shows, however it is printed; convert it to a string for what it is.
type Hidden string

// String is *** for a secret, and empty for none.
func (s Hidden) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String, for %#v.
func (s Hidden) GoString() string { return s.String() }

// LogValue is String, for logs.
func (s Hidden) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and the like.
func (s Hidden) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
