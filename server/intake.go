package server

import "sync"

// An intake is where requests and workers wait for each other: one of the two always does. The prefetch bounds the requests.
type intake struct {
	mu     sync.Mutex // guards what follows
	queue  []*job     // that wait for a worker
	idle   []worker   // that wait for a request
	closed bool
}

// A worker takes one request after the other. It is a channel, buffered 1, for the request that ends its wait.
type worker chan *job

// put hands a request to a worker, the one that has had one last: its stack is warm. It never waits. It is false if there are no
// workers any more.
func (i *intake) put(j *job) bool {
	i.mu.Lock()
	if last := len(i.idle) - 1; last >= 0 {
		w := i.idle[last]
		i.idle = i.idle[:last]
		i.mu.Unlock()
		w <- j
		return true
	}
	defer i.mu.Unlock()
	if !i.closed {
		i.queue = append(i.queue, j)
	}
	return !i.closed
}

// take waits for a request for w. It returns nil if there are no more.
func (i *intake) take(w worker) *job {
	i.mu.Lock()
	if len(i.queue) > 0 {
		defer i.mu.Unlock()
		j := i.queue[0]
		i.queue[0] = nil
		i.queue = i.queue[1:]
		return j
	}
	if i.closed {
		i.mu.Unlock()
		return nil
	}
	i.idle = append(i.idle, w)
	i.mu.Unlock()
	return <-w
}

// empty returns the requests that wait, which do not any more.
func (i *intake) empty() []*job {
	i.mu.Lock()
	defer i.mu.Unlock()
	left := i.queue
	i.queue = nil
	return left
}

// close ends the workers that wait, and the others when they come back. It returns the requests that wait.
func (i *intake) close() []*job {
	i.mu.Lock()
	i.closed = true
	for _, w := range i.idle {
		w <- nil
	}
	i.idle = nil
	i.mu.Unlock()
	return i.empty()
}
