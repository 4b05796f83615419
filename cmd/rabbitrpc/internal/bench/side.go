package bench

import (
	"fmt"
	"strings"
	"time"
)

// Kinds of a side.
const (
	KindOwn     = "self" // this program, as it is or with another environment
	KindRaw     = "raw"
	KindRawSafe = "raw-safe"
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
	case !more && (kind == KindRaw || kind == KindRawSafe):
		return Side{Name: kind, Kind: kind}, nil
	case more && kind == KindOwn:
		vars, err := ParseEnv(env)
		return Side{Name: env, Kind: KindOwn, Env: vars}, err
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
	ModeDirect  = "direct"
	ModeQueued  = "queued"
	ModeDurable = "durable"
	ModePlain   = "plain"
)

// Modes are all modes.
var Modes = []string{ModeDirect, ModeQueued, ModeDurable, ModePlain}

// A Cell is one combination of what is varied: each side is measured in it.
type Cell struct {
	Mode    string `json:"mode"`
	Callers int    `json:"callers"`
	Size    int    `json:"size"` // bytes of the body, each way
}

// workers returns how many workers a server has. There is one for each call, or a direct request would find none free and
// come back; in queued mode half of them have to wait in the queue.
func (c Cell) workers() int {
	n := c.Callers
	if c.Mode == ModeQueued {
		n /= 2
	}
	return min(max(n, 1), maxWorkers)
}

const maxWorkers = 10_000 // of a server

// cells returns all combinations, those with the same mode and size together.
func (c *Config) cells() (all []Cell) {
	for _, mode := range c.Modes {
		for _, size := range c.Sizes {
			for _, callers := range c.Callers {
				all = append(all, Cell{mode, callers, size})
			}
		}
	}
	return all
}

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

// timeout is for a call of ours; the raw loop has none.
func (s *Setup) timeout() time.Duration {
	if s.Hold {
		return holdTimeout
	}
	return callTimeout
}

const callTimeout = 30 * time.Second

// String names the cell for people.
func (c Cell) String() string {
	return fmt.Sprintf("%s, %d callers, %d bytes", c.Mode, c.Callers, c.Size)
}
