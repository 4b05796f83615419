package check

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// slack is by how many goroutines or files a process may have grown: Go makes two files when it first waits for a
// connection, and a goroutine each when it is first told of a signal and when a first finalizer runs. What leaks by the
// call or by the fault is soon beyond. All else must be as before.
const slack = 2

// grown reports whether what is counted belongs to a process, and may be less than before, or more by the slack.
func grown(name string) bool {
	return strings.HasSuffix(name, "goroutines") || strings.HasSuffix(name, "files")
}

// inventory returns the last of that name, or nil.
func (x *index) inventory(when string) *history.Inventory {
	for i := range slices.Backward(x.Inventories) {
		if x.Inventories[i].When == when {
			return &x.Inventories[i]
		}
	}
	return nil
}

// checkLeaks is I10. Less than before is wrong as well: a consumer that is gone serves nobody.
func checkLeaks(x *index, r *ruling) {
	baseline, end := x.inventory("baseline"), x.inventory("end")
	switch {
	case baseline == nil && end == nil:
		return
	case baseline == nil:
		r.doubts("nothing was counted before the load")
		return
	case end == nil:
		r.doubts("nothing was counted at the end")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(baseline.Count)) {
		was := baseline.Count[name]
		is, counted := end.Count[name]
		switch {
		case !counted:
			r.doubts("%s: %d before the load, not counted at the end", name, was)
		case grown(name) && is > was+slack, !grown(name) && is != was:
			r.breaks("%s: %d before the load, %d at the end", name, was, is)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(end.Count)) {
		if _, counted := baseline.Count[name]; !counted && end.Count[name] > 0 {
			r.breaks("%s: none before the load, %d at the end", name, end.Count[name])
		}
	}
	r.saw(len(baseline.Count), "kind")
	r.note("%d more goroutines or files of a process are allowed", slack)
}

// checkMemory is I11.
func checkMemory(x *index, r *ruling) {
	allowed := float64(x.Run.Allowed.Memory)
	type peak struct {
		most float64
		over time.Duration // first beyond what is allowed
	}
	n, peaks := 0, make(map[string]peak)
	for _, s := range x.Samples {
		for name, v := range s.Value {
			if !strings.HasSuffix(name, " rss") && !strings.HasSuffix(name, " heap") {
				continue
			}
			n++
			p := peaks[name]
			if p.most <= allowed && v > allowed {
				p.over = s.At
			}
			p.most = max(p.most, v)
			peaks[name] = p
		}
	}
	for _, name := range slices.Sorted(maps.Keys(peaks)) {
		p := peaks[name]
		r.note("%s at most %.1f MiB", name, p.most/(1<<20))
		if allowed > 0 && p.most > allowed {
			r.breaks("%s was beyond %.1f MiB from %s on, and at most %.1f MiB", name, allowed/(1<<20), at(p.over), p.most/(1<<20))
		}
	}
	if allowed == 0 {
		r.note("no bound is set")
	} else {
		r.saw(n, "sample")
	}
}

// checkQueues is I12: request queues hold what was left in them on purpose, and no request was parked.
func checkQueues(x *index, r *ruling) {
	end := x.inventory("end")
	if end == nil || end.Messages == nil {
		if x.Run.QueueMust > 0 {
			r.doubts("the queues were not looked at: they must hold %s", count(x.Run.QueueMust, "request"))
		}
		return
	}
	queues, sum := 0, 0
	var full []string
	for _, name := range slices.Sorted(maps.Keys(end.Messages)) {
		n := end.Messages[name]
		switch {
		case !strings.HasPrefix(name, "rabbitrpc."):
			continue // a reply queue, or not ours
		case !strings.HasSuffix(name, ".parked"):
			if sum += n; n > 0 {
				full = append(full, name+": "+digits(n))
			}
		case n > 0:
			r.breaks("%s holds %s: see what rabbitrpc parked says", name, count(n, "request"))
		}
		queues++
	}
	if sum != x.Run.QueueMust {
		r.breaks("the request queues hold %s, want %d: %s", count(sum, "request"), x.Run.QueueMust, strings.Join(full, ", "))
	}
	r.saw(queues, "queue")
}
