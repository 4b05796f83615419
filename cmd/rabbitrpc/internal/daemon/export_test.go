package daemon

import "time"

// OpenStoresWithin changes how long it may take to open a store.
func (d *Daemon) OpenStoresWithin(limit time.Duration) { d.memories.limit = limit }
