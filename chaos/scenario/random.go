package scenario

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// A kind of fault that a random schedule is made of. How often it is taken is its weight.
type kind struct {
	name     string // target/fault
	weight   int
	min, max time.Duration // of how long it lasts
	line     func(random *rand.Rand) chaos.Fault
}

var kinds = []kind{
	{"server/kill", 8, 100 * time.Millisecond, 2 * time.Second, nil},
	{"server/crash", 4, 100 * time.Millisecond, time.Second, nil},
	{"server/freeze", 4, 500 * time.Millisecond, 10 * time.Second, nil},
	{"server/drain", 3, 100 * time.Millisecond, time.Second, nil},
	{"broker/kill", 2, 0, time.Second, nil},
	{"broker/freeze", 1, 500 * time.Millisecond, 5 * time.Second, nil},
	{"broker/restart-app", 1, 0, time.Second, nil},
	{"broker/close-connections", 3, 0, 0, nil},
	{"broker/memory-alarm", 1, 500 * time.Millisecond, 3 * time.Second, nil},
	{"service/delete-queue", 1, 0, 0, nil},
	{"store/kill", 2, 0, time.Second, nil},
	{"store/freeze", 1, 500 * time.Millisecond, 4 * time.Second, nil},
	{"store/slow", 1, time.Second, 3 * time.Second, nil},
	{"store/cut", 2, 0, 0, nil},
	{"line/reset", 6, 0, 0, func(*rand.Rand) chaos.Fault { return chaos.Reset{} }},
	{"line/half-open", 3, time.Second, 8 * time.Second, func(c *rand.Rand) chaos.Fault {
		return chaos.HalfOpen{Dir: chaos.Direction(c.IntN(3))}
	}},
	{"line/stall", 2, 500 * time.Millisecond, 6 * time.Second, func(c *rand.Rand) chaos.Fault {
		return chaos.Stall{Dir: chaos.Direction(c.IntN(3))}
	}},
	{"line/latency", 2, time.Second, 4 * time.Second, func(c *rand.Rand) chaos.Fault {
		d := time.Duration(20+c.IntN(200)) * time.Millisecond
		return chaos.Latency{Delay: d, Jitter: d / 2}
	}},
	{"line/cut", 4, time.Second, 2 * time.Second, func(c *rand.Rand) chaos.Fault {
		method := []string{"basic.publish", "basic.deliver", "basic.ack"}[c.IntN(3)]
		return chaos.Cut{Method: method, Nth: 1 + c.IntN(50), Bytes: c.IntN(30) - 1}
	}},
	{"line/refuse", 1, 200 * time.Millisecond, 2 * time.Second, func(*rand.Rand) chaos.Fault { return chaos.Refuse{} }},
}

// random makes a schedule from a seed: the same one each time. A fault begins every second and a half, on average, so that
// some overlap.
func random(seed uint64, length time.Duration, servers []string) (steps []Step) {
	c := rand.New(rand.NewPCG(seed, 0))
	var bag []int
	for i, k := range kinds {
		for range k.weight {
			bag = append(bag, i)
		}
	}
	for t := time.Duration(0); ; {
		if t += time.Duration(200+c.IntN(2600)) * time.Millisecond; t >= length {
			return steps
		}
		k := kinds[bag[c.IntN(len(bag))]]
		target, fault, _ := strings.Cut(k.name, "/")
		s := Step{At: Span(t), For: Span(k.min), Target: target, Fault: fault, Chance: true}
		if k.max > k.min {
			s.For += Span(c.Int64N(int64(k.max-k.min))) / Span(time.Millisecond) * Span(time.Millisecond)
		}
		server := servers[c.IntN(len(servers))]
		switch {
		case k.line != nil:
			s.Target, s.Fault = []string{"callers", server}[c.IntN(2)], lineFault
			s.Line.Fault = k.line(c)
		case target == anyServer:
			s.Target = server
		}
		steps = append(steps, s)
	}
}
