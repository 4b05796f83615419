package topology

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A Difference is a property that is not as it is wanted. A value that is nil is none.
type Difference struct {
	Property string `json:"property"`
	Want     any    `json:"want"`
	Is       any    `json:"is"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s is %s, not %s", d.Property, value(d.Is), value(d.Want))
}

func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

func list(all []Difference) string {
	texts := make([]string, len(all))
	for i, d := range all {
		texts[i] = d.String()
	}
	return strings.Join(texts, "; ")
}

// mostDifferences is more than RabbitMQ compares of a queue.
const mostDifferences = 32

// queueDifferences finds all that is different of a queue that exists. The broker tells one at a time: it is asked again with
// what it has said, until it is content. Who asks needs the right to configure the queue.
func queueDifferences(ctx context.Context, s conn.Session, want conn.Queue) (found []Difference, err error) {
	is := want
	is.Args = maps.Clone(want.Args)
	for range mostDifferences {
		_, err := s.DeclareQueue(ctx, is)
		if errors.Is(err, conn.ErrLocked) {
			return append(found, Difference{"exclusive", false, true}), nil
		}
		d, ok := readDifference(err)
		if !ok {
			return found, err
		}
		d.Want = want.Args[d.Property]
		switch d.Property {
		case "durable":
			d.Want, is.Durable = want.Durable, d.Is == true
		case "auto_delete":
			d.Want, is.AutoDelete = want.AutoDelete, d.Is == true
		default:
			if is.Args[d.Property] = d.Is; d.Is == nil {
				delete(is.Args, d.Property)
			}
		}
		found = append(found, d)
	}
	return found, nil
}

// inequivalent is how RabbitMQ says what is different, from 3.10 to 4.x.
var inequivalent = regexp.MustCompile(
	`inequivalent arg '([^']+)' for .*: received (.+) but current is (none|'[^']*'|the value '[^']*' of type '[^']*')`)

// readDifference reads what is different from the refusal of a declaration.
func readDifference(err error) (Difference, bool) {
	e, ok := errors.AsType[*conn.Error](err)
	if !ok {
		return Difference{}, false
	}
	m := inequivalent.FindStringSubmatch(e.Reason)
	if m == nil {
		return Difference{}, false
	}
	return Difference{Property: m[1], Want: readValue(m[2]), Is: readValue(m[3])}, true
}

var quoted = regexp.MustCompile(`'([^']*)'(?: of type '([^']*)')?`)

// readValue reads a value as RabbitMQ writes it: with a type if it is that of an argument.
func readValue(text string) any {
	m := quoted.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	if m[1] == "true" || m[1] == "false" {
		return m[1] == "true"
	}
	if n, err := strconv.ParseInt(m[1], 10, 64); err == nil && m[2] != "" && m[2] != "longstr" {
		return n
	}
	return m[1]
}
