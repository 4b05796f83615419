// Package status gathers what a process that serves or makes calls is doing: for its status page, and for who asks whether it
// is ready. Nothing in it grows without a bound, and no body of a request gets into it.
package status

import "time"

// Status is all that the page shows. Its texts are printable. Times that have passed are in seconds, so that readers need not
// have the same clock.
type Status struct {
	Name        string       `json:"name"` // of the command
	At          time.Time    `json:"at"`
	Ready       bool         `json:"ready"`
	Checks      []Check      `json:"checks"`
	Process     Process      `json:"process"`
	Connections []Connection `json:"connections"`
	Services    []Service    `json:"services"`
	Called      []Called     `json:"called"`
	Errors      []Error      `json:"errors"` // the latest first
}

// A Check is something that must be so for the process to be ready.
type Check struct {
	Name string  `json:"name"`
	OK   bool    `json:"ok"`
	For  float64 `json:"for"`  // seconds that it has been so
	Text string  `json:"text"` // what is so, or what is wrong
}

// Process is the process itself.
type Process struct {
	Version    string  `json:"version"`
	Host       string  `json:"host"`
	PID        int     `json:"pid"`
	Uptime     float64 `json:"uptime"` // seconds
	Goroutines int     `json:"goroutines"`
	RSS        uint64  `json:"rss"` // bytes in memory; 0 where it is not known
}

// A Connection is what the process has with the broker.
type Connection struct {
	Name     string  `json:"name"`
	State    string  `json:"state"` // connecting, connected, blocked or closed
	For      float64 `json:"for"`   // seconds that it has been so
	Broker   string  `json:"broker"`
	Attempt  int     `json:"attempt"`  // dials that failed in a row
	Sessions int     `json:"sessions"` // so far
	Error    string  `json:"error"`    // the last one, "" if there was none
	ErrorAgo float64 `json:"error_ago"`
}

// Traffic is what went on in the last minute.
type Traffic struct {
	Rate    float64  `json:"rate"`   // calls that ended, a second
	Errors  float64  `json:"errors"` // of those, with an error
	P50     float64  `json:"p50"`    // seconds that calls took, or handlers; 0 if there were none
	P90     float64  `json:"p90"`
	P99     float64  `json:"p99"`
	History []uint64 `json:"history"` // calls in each two seconds, the oldest first
}

// A Service is one that the process serves. Its numbers count since the start.
type Service struct {
	Name     string  `json:"name"`
	State    string  `json:"state"` // waiting, serving, paused, draining or stopped
	For      float64 `json:"for"`   // seconds that it has been so
	Running  int64   `json:"running"`
	Limit    int     `json:"limit"`
	Answered uint64  `json:"answered"`
	Replayed uint64  `json:"replayed"` // duplicates that were answered from the store
	Refused  uint64  `json:"refused"`
	Rejected uint64  `json:"rejected"`
	Dropped  uint64  `json:"dropped"`
	Expired  uint64  `json:"expired"`
	Overdue  uint64  `json:"overdue"`
	Panics   uint64  `json:"panics"`
	Parked   uint64  `json:"parked"`
	Store    *Store  `json:"store,omitempty"`
	Traffic
	Methods []Method `json:"methods"`
}

// A Store is what a server remembers in its memory.
type Store struct {
	Entries int    `json:"entries"`
	Bytes   int    `json:"bytes"`
	Shed    uint64 `json:"shed"` // calls refused for want of room
}

// A Method is one of a service.
type Method struct {
	Name string `json:"name"`
	Traffic
}

// Called is a service that the process calls.
type Called struct {
	Name     string `json:"name"`
	Presence string `json:"presence"` // as in client.ServiceState
	Breaker  string `json:"breaker"`
	Traffic
}

// An Error is the latest of one kind: of one method, with one code.
type Error struct {
	Where string  `json:"where"` // the method, with its service
	Side  string  `json:"side"`  // answered or called
	Code  string  `json:"code"`
	Text  string  `json:"text"`
	Call  string  `json:"call"` // its ID
	Ago   float64 `json:"ago"`  // seconds
	Count uint64  `json:"count"`
}
