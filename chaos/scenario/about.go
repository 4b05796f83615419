package scenario

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// about is what the history says of the run.
func (r *run) about(steps []Step) history.Run {
	schedule, err := json.Marshal(steps)
	if err != nil {
		panic(err) // of types of ours, that are valid
	}
	return history.Run{
		Scenario: r.scenario.Name, Seed: r.lab.config.Seed, Callers: r.lab.config.Callers, Servers: r.serverNames(),
		Store: r.store(), Promise: r.promise(), Accounts: accounts, Opening: opening, Schedule: schedule,
		Versions: r.lab.versions, Command: r.lab.config.Server,
		Allowed: history.Allowed{
			Recovery: cmp.Or(r.scenario.Recovery, recovery), Lateness: cmp.Or(r.scenario.Lateness, lateness),
			Memory: 512 << 20, NoReconnect: r.scenario.Steady, Amplification: cmp.Or(r.scenario.Amplification, amplification), DialsASecond: float64(20 * (2 + 2*r.serverCount())),
		},
		MustBite: r.scenario.MustBite, MustBeOK: r.scenario.MustBeOK,
	}
}

// promise is what the servers' memory promises.
func (r *run) promise() history.Promise {
	if r.store() == bank.StorePostgres {
		return history.ExactlyOnce
	}
	return cmp.Or(r.scenario.Promise, history.AtLeastOnce)
}

func (r *run) store() string    { return cmp.Or(r.scenario.Store, r.lab.config.Store) }
func (r *run) serverCount() int { return cmp.Or(r.scenario.Servers, r.lab.config.Servers) }
func (r *run) queue() string    { return "rabbitrpc." + r.service }
func (r *run) exchange() string { return r.queue() }

// timeout is that of most calls.
func (r *run) timeout() time.Duration { return cmp.Or(r.scenario.Timeout, longTimeout) }

func (r *run) serverNames() []string { return serverNames(r.serverCount()) }

func serverNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(serverPrefix, i+1))
	}
	return names
}
