package server

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := new(intake)
		first, second, third := new(job), new(job), new(job)
		in.put(first)
		in.put(second)
		w := make(worker, 1)
		if got := [2]*job{in.take(w), in.take(w)}; got != [2]*job{first, second} {
			t.Error("requests do not get their workers in the order in which they came")
		}
		in.put(third)
		if left := in.empty(); len(left) != 1 || left[0] != third || len(in.empty()) != 0 {
			t.Errorf("%d requests were left, want the third", len(left))
		}
		var workers sync.WaitGroup
		got := make(chan *job, 2)
		for range 2 {
			workers.Go(func() { got <- in.take(make(worker, 1)) })
		}
		synctest.Wait()
		in.put(first) // one gets it
		synctest.Wait()
		if left := in.close(); len(left) != 0 {
			t.Errorf("%d requests were left, want none", len(left))
		}
		workers.Wait()
		if a, b := <-got, <-got; a != first || b != nil {
			t.Error("want the request for one worker, and the end for the other")
		}
		if in.put(first) || in.take(w) != nil {
			t.Error("it goes on after its end")
		}
	})
}

// Each worker gets a request while there are any, however long those take.
func TestIntakeWakesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 8
		in := new(intake)
		var workers sync.WaitGroup
		var taken atomic.Int64
		for range all {
			workers.Go(func() {
				w := make(worker, 1)
				for in.take(w) != nil {
					taken.Add(1)
					time.Sleep(time.Hour)
				}
			})
		}
		synctest.Wait()
		for range 2 * all {
			in.put(new(job))
		}
		synctest.Wait()
		if n := taken.Load(); n != all {
			t.Errorf("%d requests were taken, want one by each of %d workers", n, all)
		}
		in.close()
		workers.Wait()
	})
}

// A worker that is on its way is not joined by others before it knows that there is more to do.
func TestIntakeWakesOneAtATime(t *testing.T) {
	in := &intake{idle: []worker{make(worker, 1), make(worker, 1)}}
	first, last := in.idle[0], in.idle[1]
	in.put(new(job))
	in.put(new(job))
	if len(first) != 0 || len(last) != 1 {
		t.Errorf("%d and %d workers were woken, want the last one", len(first), len(last))
	}
}

// What waits at the end is returned, not taken.
func TestIntakeLeft(t *testing.T) {
	in := new(intake)
	in.put(new(job))
	if left := in.close(); len(left) != 1 || in.take(make(worker, 1)) != nil {
		t.Errorf("%d requests were left, want 1, and none for a worker", len(left))
	}
}

// What there is a worker for is not returned, and nothing that was taken is kept.
func TestIntakeKeepsWhatHasAWorker(t *testing.T) {
	in := &intake{idle: []worker{make(worker, 1), make(worker, 1)}}
	jobs := []*job{new(job), new(job), new(job), new(job)}
	for _, j := range jobs {
		in.put(j)
	}
	if left := in.empty(); !slices.Equal(left, jobs[2:]) {
		t.Errorf("%d requests were left, want the last two", len(left))
	}
	in.put(jobs[3])
	if left := in.close(); !slices.Equal(left, jobs[3:]) {
		t.Errorf("%d requests were left at the end, want the last", len(left))
	}
	w := make(worker, 1)
	if got := []*job{in.take(w), in.take(w)}; !slices.Equal(got, jobs[:2]) || in.take(w) != nil {
		t.Error("want the first two requests for the workers, and then the end")
	}
	if in.last != nil {
		t.Error("the last request is kept")
	}
}

// All that is put is taken or returned, once.
func TestIntakeConcurrently(t *testing.T) {
	in := new(intake)
	var workers, senders sync.WaitGroup
	var mu sync.Mutex // guards seen
	seen := make(map[*job]int)
	see := func(j *job) {
		mu.Lock()
		defer mu.Unlock()
		seen[j]++
	}
	for range 8 {
		workers.Go(func() {
			w := make(worker, 1)
			for j := in.take(w); j != nil; j = in.take(w) {
				see(j)
			}
		})
	}
	const each = 1000
	for range 4 {
		senders.Go(func() {
			for range each {
				if j := new(job); !in.put(j) {
					see(j)
				}
			}
		})
	}
	for range 3 {
		for _, j := range in.empty() {
			see(j)
		}
	}
	for _, j := range in.close() {
		see(j)
	}
	workers.Wait()
	senders.Wait()
	if len(seen) != 4*each {
		t.Errorf("%d of %d requests got somewhere", len(seen), 4*each)
	}
	for _, n := range seen {
		if n != 1 {
			t.Fatalf("a request got to %d", n)
		}
	}
}
