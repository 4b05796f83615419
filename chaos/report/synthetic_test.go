package report

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// synthetic makes up the history of a run that looks like a real one, always the same for the same arguments.
func synthetic(seed uint64, callers int, length time.Duration) *history.History {
	s := &synthesis{rnd: rand.New(rand.NewPCG(seed, 1)), h: &history.History{}}
	s.h.Run = history.Run{
		Scenario: "bank", Seed: seed, Started: time.Date(2025, 3, 9, 8, 30, 0, 0, time.UTC), Callers: callers,
		Servers: []string{"server-1", "server-2", "server-3"}, Store: "postgres with transactions", Promise: history.ExactlyOnce,
		Accounts: 16, Opening: 1000, Versions: []string{"rabbitrpc 0.9.0", "RabbitMQ 4.1.4", "Erlang 27.3", "PostgreSQL 17.5", "Go 1.26"},
		Schedule: json.RawMessage(`[{"fault":"kill","target":"server-1","at":"14s"}]`),
		Allowed:  history.Allowed{Recovery: 5 * time.Second},
	}
	third := length / 10
	for i, name := range []string{"warm up", "faults", "heal", "quiesce", "drain", "check"} {
		from := [...]time.Duration{0, third / 2, 8 * third, 17 * third / 2, 19 * third / 2, 39 * third / 4}[i]
		to := [...]time.Duration{third / 2, 8 * third, 17 * third / 2, 19 * third / 2, 39 * third / 4, length}[i]
		s.h.Phases = append(s.h.Phases, history.Phase{Name: name, From: from, To: to})
	}
	s.faults(third/2, 8*third)
	for c := range callers {
		s.caller(c, length)
	}
	s.sessions()
	s.samples(length)
	return s.h
}

type synthesis struct {
	rnd *rand.Rand
	h   *history.History
}

func (s *synthesis) faults(from, to time.Duration) {
	kinds := []history.Fault{
		{Name: "kill", Target: "server-1", Text: "SIGKILL in the middle of a call; started again after 2 s"},
		{Name: "half-open", Target: "clients", Text: "everything from the broker is swallowed, and no connection is closed"},
		{Name: "restart", Target: "broker", Text: "the broker is stopped and started again, with its queues"},
		{Name: "freeze", Target: "server-2", Text: "SIGSTOP, then SIGCONT"},
		{Name: "lose confirm", Target: "server-3", Text: "every tenth confirm of a reply is lost, with its connection"},
		{Name: "memory alarm", Target: "broker", Text: "the broker blocks all who publish"},
		{Name: "latency", Target: "all", Text: "80 ms more each way, and 40 ms of jitter"},
		{Name: "delete queue", Target: "bank", Text: "an operator deletes the queue of the service"},
		{Name: "kill caller", Target: "caller 7", Text: "SIGKILL; it is started again with the same name"},
	}
	n := 18
	for i := range n {
		f := kinds[i%len(kinds)]
		f.From = from + (to-from)*time.Duration(i)/time.Duration(n) + time.Duration(s.rnd.Int64N(int64(2*time.Second)))
		f.To = f.From + time.Duration(float64(to-from)/float64(n)*(0.1+s.rnd.Float64()*0.7))
		if i%4 == 3 {
			f.To += (to - from) / time.Duration(n) // overlaps with the next
		}
		f.Bites = 1 + s.rnd.IntN(400)
		s.h.Faults = append(s.h.Faults, f)
	}
	s.h.Faults[7].Bites = 0
	s.h.Faults[12].Error = "restart: node did not come back within 10 s, tried again"
}

func (s *synthesis) active(t time.Duration) *history.Fault {
	for i := range s.h.Faults {
		if f := &s.h.Faults[i]; f.From <= t && t < f.To {
			return f
		}
	}
	return nil
}

func (s *synthesis) caller(c int, length time.Duration) {
	var before *history.Call
	for t := time.Duration(s.rnd.Int64N(int64(100 * time.Millisecond))); t < length-2*time.Second; {
		call := history.Call{
			ID: fmt.Sprintf("%08x-%04x", s.rnd.Uint32(), s.rnd.Uint32()&0xffff), Client: fmt.Sprintf("bank-%d", c%4),
			Process: fmt.Sprintf("caller %d", c), Op: []string{"transfer", "transfer", "transfer", "accounts", "put", "get", "cas"}[s.rnd.IntN(7)],
			Tag: fmt.Sprintf("t%d", s.rnd.IntN(1_000_000)), Invoked: t, Deadline: t + 5*time.Second, Attempts: 1, Outcome: history.OK,
			Server: s.h.Run.Servers[s.rnd.IntN(3)], Input: json.RawMessage(`{"from":3,"to":11,"amount":25}`), Output: json.RawMessage(`{"balance":975}`),
		}
		took := time.Duration((1 + s.rnd.ExpFloat64()*2) * float64(time.Millisecond))
		if before != nil && s.rnd.IntN(60) == 0 {
			call.Kind, call.ID, call.Client, call.Replayed = history.Again, before.ID, before.Client, true
		} else if before != nil && s.rnd.IntN(400) == 0 {
			call.Kind, call.ID, call.Client = history.Misuse, before.ID, before.Client
			call.Outcome, call.Code, call.Error, call.Output = history.Rejected, "invalid_argument", "the call ID is taken by another payload", nil
		}
		took += s.suffer(&call, t)
		call.Returned = t + took
		s.h.Calls = append(s.h.Calls, call)
		before = &call
		t = call.Returned + time.Duration(s.rnd.ExpFloat64()*float64(120*time.Millisecond))
	}
}

// suffer lets a fault have its effect on a call, and returns how much longer it took.
func (s *synthesis) suffer(c *history.Call, t time.Duration) time.Duration {
	if s.rnd.IntN(300) == 0 && c.Outcome == history.OK {
		c.Outcome, c.Code, c.Error, c.Output = history.Failed, "failed_precondition", "account 3 has too little", nil
	}
	f := s.active(t)
	if f == nil || c.Outcome != history.OK {
		return 0
	}
	slow := time.Duration(s.rnd.ExpFloat64() * float64(60*time.Millisecond))
	switch x := s.rnd.IntN(100); {
	case f.Name == "restart" && x < 70:
		c.Outcome, c.Code, c.Error, c.Server = history.Rejected, "unavailable", "not connected: dial tcp 127.0.0.1:5672: connection refused", ""
		return 0
	case f.Name == "half-open" && x < 30, f.Name == "memory alarm" && x < 40:
		c.Outcome, c.Code, c.Error, c.Server = history.Ambiguous, "deadline_exceeded", "no reply in time", ""
		return 5*time.Second + slow/50
	case f.Name == "kill caller" && x < 1:
		c.Outcome, c.Code, c.Error, c.Server = history.Lost, "", "", ""
		return slow
	case x < 8:
		c.Attempts = 2 + s.rnd.IntN(2)
		return slow + time.Duration(s.rnd.IntN(900))*time.Millisecond
	case x < 10:
		c.Outcome, c.Code, c.Error, c.Server = history.Ambiguous, "unavailable", "session lost while the request was out: EOF", ""
		return slow
	}
	return slow
}

func (s *synthesis) sessions() {
	s.h.Sessions = append(s.h.Sessions, history.Session{Process: "driver"})
	for _, f := range s.h.Faults {
		if f.Name == "restart" || f.Name == "half-open" {
			s.h.Sessions = append(s.h.Sessions, history.Session{At: f.To + 300*time.Millisecond, Process: "driver", Error: "read tcp 127.0.0.1:40112->127.0.0.1:5672: connection reset by peer"})
		}
	}
}

func (s *synthesis) samples(length time.Duration) {
	dials := 4.0
	for t := time.Duration(0); t < length; t += time.Second {
		v := map[string]float64{}
		busy := 1.0
		if f := s.active(t); f != nil {
			busy = 1.6
			dials += float64(s.rnd.IntN(3))
		}
		for i, p := range []string{"driver", "server-1", "server-2", "server-3"} {
			v[p+" goroutines"] = float64(int((60 + 20*float64(i) + 12*s.rnd.Float64()) * busy))
			v[p+" rss"] = (38 + 9*float64(i) + 6*s.rnd.Float64()*busy + t.Minutes()) * (1 << 20)
		}
		v["in flight"] = float64(int(4 * busy * busy * (1 + s.rnd.Float64())))
		v["dials"] = dials
		s.h.Samples = append(s.h.Samples, history.Sample{At: t, Value: v})
	}
}

// verdicts are those of a run that was good, or of one that was not.
func verdicts(h *history.History, good bool) []check.Verdict {
	v := []check.Verdict{
		{Invariant: "I1", Title: "Every call ends by its deadline", Result: check.Holds, Detail: "149 812 calls, the latest 14 ms after its deadline"},
		{Invariant: "I2", Title: "Each call takes effect at most once", Result: check.Holds, Detail: "98 204 calls in the ledger, none of them twice"},
		{Invariant: "I3", Title: "What was ok is in the ledger", Result: check.Holds, Detail: "97 911 calls were ok, all of them are there"},
		{Invariant: "I4", Title: "What was rejected is not in the ledger", Result: check.Holds, Detail: "2 410 calls were rejected, none of them is there"},
		{Invariant: "I5", Title: "No money is made or lost", Result: check.Holds, Detail: "16 accounts have 16 000 together, as at the start"},
		{Invariant: "I6", Title: "Registers are linearizable", Result: check.Holds, Detail: "12 registers, 42 180 operations, decided in 1.9 s"},
		{Invariant: "I7", Title: "Calls are ok again soon after faults", Result: check.Holds, Detail: "18 faults, the slowest recovery took 1.2 s, allowed are 5 s"},
		{Invariant: "I8", Title: "Nothing is left behind", Result: check.Holds, Detail: "goroutines, connections, channels, consumers and files as before the load"},
		{Invariant: "I9", Title: "No secret is in a log", Result: check.Holds, Detail: "41 MiB of logs"},
		{Invariant: "I10", Title: "Memory stays in bounds", Result: check.NotChecked, Detail: "no bound was set for this run"},
	}
	if !good {
		v[1].Result, v[1].Detail = check.Broken, "98 204 calls in the ledger, 2 of them twice"
		for i := range 2 {
			c := &h.Calls[1+i*len(h.Calls)/3]
			v[1].Evidence = append(v[1].Evidence, fmt.Sprintf("call %s of %s has 2 effects: seq %d and %d; %s, %d attempts, invoked at %.3f s",
				c.ID, c.Process, 2041+i, 2077+i, c.Outcome, c.Attempts, c.Invoked.Seconds()))
		}
		v[6].Result, v[6].Detail = check.Inconclusive, "1 fault had no effect: delete queue bank, 118.2 s to 121.0 s"
	}
	return v
}
