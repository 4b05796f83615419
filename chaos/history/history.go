// Package history keeps what happened in a chaos run: which calls were made and what came of them, what was broken and
// when, what the processes used, and what was found in the end. It is written as it happens, a line of JSON for each
// record, so that a run that is killed leaves what it had seen.
//
// All times are since the start of the run, on one monotonic clock.
//
// # Concurrency
//
// A Writer is safe for concurrent use. A History is not.
package history

import (
	"encoding/json"
	"time"
)

// A History is all that happened in a run, in the order in which it was written: calls by their ends.
type History struct {
	Run         Run
	Calls       []Call
	Faults      []Fault
	Phases      []Phase
	Sessions    []Session
	Samples     []Sample
	Inventories []Inventory
	Entries     []Entry
	Findings    []Finding
	Balances    []int64 // of the accounts at the end; nil if they were not read
}

// A Run says what was run. The first line of a history is one.
type Run struct {
	Scenario  string          `json:"scenario"`
	Seed      uint64          `json:"seed"`
	Started   time.Time       `json:"started"`
	Callers   int             `json:"callers"`
	Servers   []string        `json:"servers"` // names of the processes
	Store     string          `json:"store"`
	Promise   Promise         `json:"promise"`
	Accounts  int             `json:"accounts"`
	Opening   int64           `json:"opening"` // balance of each account at the start
	Versions  []string        `json:"versions,omitempty"`
	Command   []string        `json:"command,omitempty"`  // of a server
	Schedule  json.RawMessage `json:"schedule,omitempty"` // to replay it
	Allowed   Allowed         `json:"allowed"`
	MustBite  []string        `json:"mustBite,omitempty"`  // what must have happened, else the run shows nothing: see [Happened]
	MustBeOK  bool            `json:"mustBeOK,omitempty"`  // no call may fail, but for the caller's own mistakes
	QueueMust int             `json:"queueMust,omitempty"` // messages that the request queues hold in the end
}

// A Promise is what the servers' memory promises of one call's effects.
type Promise string

// The promises.
const (
	AtLeastOnce Promise = "at least once"
	ExactlyOnce Promise = "exactly once"
)

// Allowed is what is allowed, where that depends on the run. Zero fields are not checked, but for Lateness.
type Allowed struct {
	Recovery      time.Duration `json:"recovery,omitempty"`      // from the end of a fault to the first call that is ok
	Lateness      time.Duration `json:"lateness,omitempty"`      // of the end of a call after its deadline; 100 ms if zero
	Amplification float64       `json:"amplification,omitempty"` // attempts for each call
	NoReconnect   bool          `json:"noReconnect,omitempty"`   // no session of the callers may be lost
	DialsASecond  float64       `json:"dialsASecond,omitempty"`  // of all processes together, in any second
	Memory        int64         `json:"memory,omitempty"`        // bytes in use of one process
}

// An Outcome is one of the four ways in which a call ends. See docs/guarantees.md.
type Outcome string

// The outcomes. Lost is a call whose caller was killed: nobody knows how it ended, so it is as ambiguous.
const (
	OK        Outcome = "ok"
	Rejected  Outcome = "rejected"  // executed no
	Failed    Outcome = "failed"    // executed yes
	Ambiguous Outcome = "ambiguous" // executed unknown
	Lost      Outcome = "lost"
)

// A Call is a call that has ended. All calls with the same Client and ID are the same call for a server.
type Call struct {
	ID       string          `json:"id"`
	Client   string          `json:"client"`  // the tenant: servers deduplicate within it
	Process  string          `json:"process"` // who has called, such as "caller 7"; one call at a time
	Kind     Kind            `json:"kind,omitempty"`
	Op       string          `json:"op"` // transfer, accounts, put, get, cas
	Input    json.RawMessage `json:"input,omitempty"`
	Tag      string          `json:"tag,omitempty"` // in the input, and in the ledger: names the payload
	Invoked  time.Duration   `json:"invoked"`
	Deadline time.Duration   `json:"deadline"`
	Returned time.Duration   `json:"returned"`
	Attempts int             `json:"attempts,omitempty"`
	Outcome  Outcome         `json:"outcome"`
	Code     string          `json:"code,omitempty"`
	Error    string          `json:"error,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	Replayed bool            `json:"replayed,omitempty"`
	Server   string          `json:"server,omitempty"`
}

// A Kind is why a call was made.
type Kind string

// The kinds of calls.
const (
	Usual  Kind = ""
	Again  Kind = "again"  // the same call once more, with the ID, payload and client of one before
	Misuse Kind = "misuse" // the ID of a call before with another payload: must be refused
	Other  Kind = "other"  // the ID of another client's call: is a call of its own
	Check  Kind = "check"  // made by the run itself after the faults
)

// A Fault is a fault that has been healed.
type Fault struct {
	Name   string        `json:"name"`   // such as "kill", "half-open"
	Target string        `json:"target"` // such as "broker", "server-1", "clients"
	Text   string        `json:"text"`   // what it did, in words
	From   time.Duration `json:"from"`
	To     time.Duration `json:"to"`
	Bites  int           `json:"bites"` // how often it had an effect, as far as that can be counted
	Error  string        `json:"error,omitempty"`
	Chance bool          `json:"chance,omitempty"` // chance has picked it, and may have picked somebody who was down
}

// A Phase is a part of a run: warm up, faults, heal, quiesce, drain, check.
type Phase struct {
	Name string        `json:"name"`
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// A Session is one more session of the callers' process with the broker.
type Session struct {
	At      time.Duration `json:"at"`
	Process string        `json:"process"`
	Error   string        `json:"error,omitempty"` // why the one before ended; empty for the first
}

// A Sample is what was in use at a time, by name: "driver goroutines", "server-1 rss", "dials", "in flight".
type Sample struct {
	At    time.Duration      `json:"at"`
	Value map[string]float64 `json:"value"`
}

// TimersLate is the value of a sample that says by how many seconds a timer of the callers' process was late at most, since
// the sample before.
const TimersLate = "callers timers late"

// An Inventory is what there was, to find what is left behind: that of the baseline, before the load, and that of the end. One
// more says how often texts were in the logs.
type Inventory struct {
	When     string         `json:"when"` // baseline, end, or InLogs
	Count    map[string]int `json:"count"`
	Messages map[string]int `json:"messages,omitempty"` // by queue
}

// InLogs is the When of an inventory of texts in the logs of the broker and the servers.
const InLogs = "in logs"

// An Entry is an effect, as it is in the ledger in the end: one for each execution that took effect.
type Entry struct {
	Seq    int64  `json:"seq"`
	Call   string `json:"call"`
	Tag    string `json:"tag"`
	From   int    `json:"from"`
	To     int    `json:"to"`
	Amount int64  `json:"amount"`
}

// A Finding is something that must not be, found in a log or an error: Kind is "secret", "unknown delivery tag", "panic",
// "data race", "crash" of a server by a signal that nobody sent it, or "bad end" of one that was asked to end.
type Finding struct {
	Kind  string `json:"kind"`
	Where string `json:"where"`
	Text  string `json:"text"`
}
