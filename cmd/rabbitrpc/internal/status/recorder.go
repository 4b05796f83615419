package status

import (
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxMethods is how many methods a recorder remembers, at 30 KiB each: those of the latest calls.
const maxMethods = 128

// A recorder counts the calls of one side, by method.
type recorder struct {
	start time.Time

	mu      sync.Mutex // guards methods
	methods *lru.Cache[method, *window]
}

type method struct{ service, name string }

func newRecorder() *recorder {
	methods, err := lru.New[method, *window](maxMethods)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &recorder{start: time.Now(), methods: methods}
}

// add counts a call that has ended now. What it took is negative if that is not to be counted.
func (r *recorder) add(m method, took time.Duration, failed bool) {
	r.window(m).add(time.Since(r.start), took, failed)
}

func (r *recorder) window(m method) *window {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.methods.Get(m)
	if !ok {
		w = new(window)
		r.methods.Add(m, w)
	}
	return w
}

// traffic returns what went on with a service in the last minute, and with each of its methods, by their names.
func (r *recorder) traffic(service string) (Traffic, []Method) {
	at := time.Since(r.start)
	var all sum
	methods := []Method{}
	for _, m := range r.methods.Keys() {
		w, ok := r.methods.Peek(m)
		if !ok || m.service != service {
			continue
		}
		var one sum
		one.add(w, at)
		all.add(w, at)
		methods = append(methods, Method{Name: printable(m.name), Traffic: one.traffic(at)})
	}
	slices.SortFunc(methods, func(a, b Method) int { return strings.Compare(a.Name, b.Name) })
	return all.traffic(at), methods
}
