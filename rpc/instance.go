package rpc

import "time"

// An Instance is one running server of a service, as it tells of itself to whoever asks: see client.Discovery. Nobody
// checks what it says.
type Instance struct {
	Service  string `json:"service"`
	Name     string `json:"name"`              // as in its replies; several may have the same
	ID       string `json:"id"`                // random, a new one each time that it starts
	Version  string `json:"version,omitempty"` // of the service, if its server was told
	Library  string `json:"library,omitempty"` // version of this module that it was built with
	State    string `json:"state"`             // waiting, serving, paused or draining
	UptimeMS int64  `json:"uptime_ms"`         // relative: clocks of two hosts are never compared

	Info  *InstanceInfo  `json:"info,omitempty"`  // only if it was asked for
	Stats *InstanceStats `json:"stats,omitempty"` // only if it was asked for
}

// Uptime is how long the instance had been running when it answered.
func (i *Instance) Uptime() time.Duration { return time.Duration(i.UptimeMS) * time.Millisecond }

// InstanceInfo is what does not change while an instance runs.
type InstanceInfo struct {
	Methods     []string `json:"methods"`                // sorted, 256 at most
	MoreMethods int      `json:"more_methods,omitempty"` // that are not in Methods
	Workers     int      `json:"workers"`                // handlers that may run at a time
	Queue       string   `json:"queue"`                  // where its requests are
	QueueType   string   `json:"queue_type"`             // classic or quorum
	PlainQueue  string   `json:"plain_queue,omitempty"`  // that it serves as well
	Store       string   `json:"store"`                  // what remembers its calls: none, lru, bolt, postgres, or another package
}

// InstanceStats is what an instance has counted since it started; see server.Stats for what each means.
type InstanceStats struct {
	Running    int64  `json:"running"` // handlers, now
	Limit      int    `json:"limit"`   // of those, now
	Received   uint64 `json:"received"`
	Answered   uint64 `json:"answered"`
	Replayed   uint64 `json:"replayed"`
	Failed     uint64 `json:"failed"`
	Refused    uint64 `json:"refused"`
	Rejected   uint64 `json:"rejected"`
	Dropped    uint64 `json:"dropped"`
	Expired    uint64 `json:"expired"`
	Unroutable uint64 `json:"unroutable"`
	Rerouted   uint64 `json:"rerouted"`
	Panics     uint64 `json:"panics"`
	Overdue    uint64 `json:"overdue"`
	Parked     uint64 `json:"parked"`
}
