// Package scenario runs chaos scenarios: servers of a bank, callers, and a schedule of faults, on a private broker and a
// private database. It keeps the history of each run, and checks the invariants of package check over it.
//
//	lab, err := scenario.OpenLab(ctx, scenario.Config{...})
//	defer lab.Close()
//	s, _ := scenario.Find("broker-killed")
//	result, err := lab.Run(ctx, s)
//	err = result.Err() // which invariants are broken
//
// The servers are processes of whatever command the configuration names, so that a team can point it at its own.
package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// A Scenario is what goes wrong, and what that must not do.
type Scenario struct {
	Name  string
	Group string // network, broker, server, client, store, operations, mix
	About string // the fault, and what callers see of it: a sentence

	// Steps is the schedule. Without one the run makes a random one from its seed.
	Steps []Step

	Duration  time.Duration   // of the faults; default: as long as the steps take
	Store     string          // of the servers' memory; default: that of the configuration
	Promise   history.Promise // of that memory; default: what it promises of itself
	Servers   int             // default: that of the configuration
	Quorum    bool            // the queue is a quorum queue
	Work      time.Duration   // that each call takes besides, with this project's servers
	Packets   bool            // packets are dropped: the broker is in a network namespace
	Timeout   time.Duration   // of most calls; default 30 s
	Heartbeat time.Duration   // of the callers, in whole seconds; default 1 s. Latency below half of it costs no connection
	Guests    int             // callers in a process of their own, besides the others
	Recovery  time.Duration   // from the end of the faults to the first call that is ok; default 5 s
	Lateness  time.Duration   // of calls after their deadlines; default 100 ms

	Amplification float64 // attempts for each call; default 1.25

	MustBite []string // see history.Happened; each fault must, besides
	Steady   bool     // no session of the callers may be lost
	MustBeOK bool     // no call may fail
}

// MinServers is how many servers the catalogue's schedules name.
const MinServers = 3

// groups is the order of the list.
var groups = []string{"network", "broker", "server", "client", "store", "operations", "mix"}

// All returns the catalogue, in its order.
func All() []Scenario {
	all := slices.Concat(network, brokers, packetLoss, servers, clients, stores, operations, mixes)
	slices.SortStableFunc(all, func(a, b Scenario) int {
		return cmp.Compare(slices.Index(groups, a.Group), slices.Index(groups, b.Group))
	})
	return all
}

// Find returns the scenario of that name, or those of the group of that name. The error names what there is.
func Find(name string) ([]Scenario, error) {
	var found []Scenario
	for _, s := range All() {
		if name == "all" || s.Name == name || s.Group == name {
			found = append(found, s)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no scenario or group %q: rabbitrpc chaos list has them", name)
	}
	return found, nil
}

// Schedule returns the steps of a run in the order of time: those of the scenario, or those that the seed makes for servers of
// these names.
func (s *Scenario) Schedule(seed uint64, servers []string) []Step {
	steps := slices.Clone(s.Steps)
	if steps == nil {
		steps = random(seed, s.length(), servers)
	}
	sortSteps(steps)
	drawPoints(steps, seed)
	return steps
}

// Validate tells what is wrong with the steps of the scenario, in a run with so many servers.
func (s *Scenario) Validate(servers int) error {
	names := serverNames(cmp.Or(s.Servers, servers))
	for _, step := range s.Steps {
		if err := step.Validate(); err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(step.Target, serverPrefix) && !slices.Contains(names, step.Target):
			return fmt.Errorf("step %v: no such server, the last is %s", step, names[len(names)-1])
		case step.Target == guestsName && s.Guests == 0:
			return fmt.Errorf("step %v: the scenario %s has no guests, as callers-killed has", step, s.Name)
		}
	}
	return nil
}

// length is how long the faults take.
func (s *Scenario) length() time.Duration {
	d := s.Duration
	for _, step := range s.Steps {
		d = max(d, time.Duration(step.At+step.For))
	}
	return d
}
