package server

import "sync"

// An intake is where requests wait for workers, and workers for requests. The prefetch bounds the requests.
//
// One worker at a time is on its way to a request, and wakes the next one if there is more to do. So of many short requests that come
// together, a worker that is awake takes one after the other, while long ones get all the workers that there are.
type intake struct {
	mu          sync.Mutex // guards what follows
	first, last *job       // of the requests that are not taken, each with the next; nil without any
	idle        []worker
	woken       bool // a worker is on its way
	closed      bool
}

// A worker takes one request after the other. It is a channel, buffered 1, for the token that ends its wait.
type worker chan struct{}

// put hands a request over. It never waits. It is false if there are no workers any more.
func (i *intake) put(j *job) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	if i.first == nil {
		i.first = j
	} else {
		i.last.next = j
	}
	i.last = j
	i.wake()
	return true
}

// wake sends for a worker if there is something to do: the one that has had a request last, since its stack is warm. It is called with
// the mutex locked.
func (i *intake) wake() {
	latest := len(i.idle) - 1
	if i.woken || i.first == nil || latest < 0 {
		return
	}
	i.woken = true
	i.idle[latest] <- struct{}{}
	i.idle = i.idle[:latest]
}

// take waits for a request for w. It returns nil if there are no more.
func (i *intake) take(w worker) *job {
	i.mu.Lock()
	defer i.mu.Unlock()
	for i.first == nil {
		if i.closed {
			return nil
		}
		i.idle = append(i.idle, w)
		i.mu.Unlock()
		<-w
		i.mu.Lock()
		i.woken = false
	}
	j := i.first
	if i.first, j.next = j.next, nil; i.first == nil {
		i.last = nil
	}
	i.wake()
	return j
}

// empty returns the requests for which there is no worker, and which do not wait any more.
func (i *intake) empty() []*job {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.excess()
}

// close ends the workers that wait, and the others when they come back. It returns the requests for which there is no worker.
func (i *intake) close() []*job {
	i.mu.Lock()
	defer i.mu.Unlock()
	left := i.excess()
	i.closed = true
	for _, w := range i.idle {
		w <- struct{}{}
	}
	i.idle = nil
	return left
}

// excess takes out the requests that come after those for which a worker is idle, or on its way. It is called with the mutex locked.
func (i *intake) excess() (left []*job) {
	workers := len(i.idle)
	if i.woken {
		workers++
	}
	at := &i.first
	for i.last = nil; *at != nil && workers > 0; workers-- {
		i.last, at = *at, &(*at).next
	}
	for j := *at; j != nil; j = j.next {
		left = append(left, j)
	}
	*at = nil
	return left
}
