package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A Point is where a server crashes: at which step of a call, and of which call since it began, such as "applied@7".
type Point string

// crashPoints are where a call can end with its server. See internal/failpoint.
var crashPoints = []string{
	"delivered", "validated", "claimed", "entered", "applied", "stored", "published", "confirmed", "acked",
}

const crashFault = "crash"

// drawPoints draws those that the crashes of a schedule leave to chance, so that it has all that there is to do once more.
func drawPoints(steps []Step, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 1))
	for i := range steps {
		if s := &steps[i]; s.Fault == crashFault && s.Point == "" {
			s.Point = Point(fmt.Sprintf("%s@%d", crashPoints[dice.IntN(len(crashPoints))], 1+dice.IntN(20)))
		}
	}
}

func (p Point) validate() error {
	name, call, _ := strings.Cut(string(p), "@")
	if n, err := strconv.Atoi(call); err != nil || n < 1 || !slices.Contains(crashPoints, name) {
		return fmt.Errorf("no point %q, it is one of %q with the number of a call, such as applied@7", string(p), crashPoints)
	}
	return nil
}

// failpoint is the order to die there.
func (p Point) failpoint() string { return strings.Replace(string(p), "@", "=kill@", 1) }
