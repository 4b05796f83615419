package conntest

import (
	"slices"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A message is what a queue keeps. What its fields refer to is shared between queues and never changed.
type message struct {
	conn.Message
	keys        []string  // routing keys: Key, then those of the CC header
	seq         uint64    // place in the queue, which it keeps when it is given back
	deadline    time.Time // zero: none
	redelivered bool
	returns     int     // how often it was given back
	deaths      []death // the last one first
}

// A death is why a message was dead-lettered by a queue, and how often.
type death struct {
	queue, reason, exchange string
	keys                    []string
	expiration              string
	count                   int64
	at                      time.Time
}

// onWire returns m as it comes out at the other end: a copy, with times cut to seconds.
func onWire(m *conn.Message) conn.Message {
	c := *m
	c.Mandatory = false // a part of publishing, not of the message
	c.Timestamp = wireTime(m.Timestamp)
	c.Body = slices.Clone(m.Body)
	c.Headers = nil
	if m.Headers != nil {
		c.Headers = wireValue(m.Headers).(map[string]any)
	}
	return c
}

func wireValue(v any) any {
	switch v := v.(type) {
	case time.Time:
		return wireTime(v)
	case []byte:
		return slices.Clone(v)
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = wireValue(v[i])
		}
		return c
	case map[string]any:
		c := make(map[string]any, len(v))
		for name := range v {
			c[name] = wireValue(v[name])
		}
		return c
	}
	return v
}

func wireTime(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Unix(t.Unix(), 0)
}

// carbonCopies returns the extra routing keys in the CC header.
func carbonCopies(m *conn.Message) (keys []string) {
	list, _ := m.Headers["CC"].([]any) // Validate refuses others
	for _, key := range list {
		if key, ok := key.(string); ok {
			keys = append(keys, key)
		}
	}
	return keys
}
