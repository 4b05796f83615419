package status

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// maxMethods is how many methods a recorder remembers, at 30 KiB each: those of the latest calls.
const maxMethods = 128

// A recorder is an interceptor that counts calls: those that a server answers, or those that a client makes.
type recorder struct {
	side   string
	errors *errorLog
	start  time.Time

	mu      sync.Mutex // guards methods
	methods *lru.Cache[method, *window]
}

type method struct{ service, name string }

func newRecorder(side string, errors *errorLog) *recorder {
	methods, err := lru.New[method, *window](maxMethods)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &recorder{side: side, errors: errors, start: time.Now(), methods: methods}
}

func (r *recorder) intercept(next rpc.Handler) rpc.Handler {
	return func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		start := time.Now()
		reply, err := next(ctx, req)
		r.window(req).add(time.Since(r.start), time.Since(start), err != nil)
		if err != nil {
			r.errors.add(r.side, req, err)
		}
		return reply, err
	}
}

func (r *recorder) window(req *rpc.Request) *window {
	key := method{req.Service, req.Method}
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.methods.Get(key)
	if !ok {
		w = new(window)
		r.methods.Add(key, w)
	}
	return w
}

// traffic returns what went on with a service in the last minute, and with each of its methods, by their names.
func (r *recorder) traffic(service string) (Traffic, []Method) {
	at := time.Since(r.start)
	var all sum
	methods := []Method{}
	for _, key := range r.methods.Keys() {
		w, ok := r.methods.Peek(key)
		if !ok || key.service != service {
			continue
		}
		var one sum
		one.add(w, at)
		all.add(w, at)
		methods = append(methods, Method{Name: printable(key.name), Traffic: one.traffic(at)})
	}
	slices.SortFunc(methods, func(a, b Method) int { return strings.Compare(a.Name, b.Name) })
	return all.traffic(at), methods
}
