package worker

import (
	"fmt"
	"strings"
	"time"
)

// Kinds of a side.
const (
	Own     = "self" // this program, as it is or with another environment
	Raw     = "raw"
	RawSafe = "raw-safe"
)

// A Side is one of those that are compared.
type Side struct {
	Name string   `json:"name"`
	Kind string   `json:"kind"`
	Env  []string `json:"env,omitempty"` // additions to the environment of its processes
}

// ParseSide reads what --compare says: raw, raw-safe, or self:NAME=VALUE,NAME=VALUE.
func ParseSide(text string) (Side, error) {
	kind, env, more := strings.Cut(text, ":")
	switch {
	case !more && (kind == Raw || kind == RawSafe):
		return Side{Name: kind, Kind: kind}, nil
	case more && kind == Own:
		vars, err := ParseEnv(env)
		return Side{Name: env, Kind: Own, Env: vars}, err
	}
	return Side{}, fmt.Errorf("compare with raw, raw-safe or self:NAME=VALUE, not with %q", text)
}

// ParseEnv reads NAME=VALUE,NAME=VALUE.
func ParseEnv(text string) ([]string, error) {
	vars := strings.Split(text, ",")
	for _, v := range vars {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return nil, fmt.Errorf("want NAME=VALUE, got %q", v)
		}
	}
	return vars, nil
}

// Modes in which our client makes calls.
const (
	Direct  = "direct"
	Queued  = "queued"
	Durable = "durable"
	Plain   = "plain"
)

// Modes are all modes.
var Modes = []string{Direct, Queued, Durable, Plain}

// A Cell is one combination of what is varied: each side is measured in it.
type Cell struct {
	Mode    string `json:"mode"`
	Callers int    `json:"callers"`
	Size    int    `json:"size"` // bytes of the body, each way
}

// Workers returns how many workers a server has: two for each caller, since a caller makes its next call before its last is
// acknowledged, and a direct request that finds no room comes back; but no fewer than servers have by default. In queued mode half of
// the requests have to wait.
func (c Cell) Workers() int {
	if c.Mode == Queued {
		return min(max(c.Callers/2, 1), maxWorkers)
	}
	return min(max(2*c.Callers, minWorkers), maxWorkers)
}

const minWorkers, maxWorkers = 16, 10_000 // of a server

// A Setup tells a process which part it has.
type Setup struct {
	Side    Side
	Cell    Cell
	Queue   string  // and service, of this pair alone
	Target  *Target // what to call; nil for the pair's own server
	Profile string  // the beginning of the names of the files for profiles; empty for none
	Hold    bool    // the server keeps what it gets
}

// A Target is a method that somebody else serves.
type Target struct {
	Service, Method string
	Body            []byte // JSON
}

// timeout is for each call of ours.
func (s *Setup) timeout() time.Duration {
	if s.Hold {
		return HoldTimeout
	}
	return callTimeout
}

const (
	callTimeout  = 30 * time.Second
	readyTimeout = 10 * time.Second // of a server
)

// HoldTimeout is for each call that is held.
const HoldTimeout = 10 * time.Minute

// CloseLimit is how long a worker may take to end in good order.
const CloseLimit = 5 * time.Second

// String names the cell for people.
func (c Cell) String() string {
	noun := "callers"
	if c.Callers == 1 {
		noun = "caller"
	}
	return fmt.Sprintf("%s, %d %s, %d bytes", c.Mode, c.Callers, noun, c.Size)
}
