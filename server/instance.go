package server

import (
	"fmt"
	"maps"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const maxListed = 256 // methods that an instance names

// instance is what this server says of itself to who asks for it by method.
func (s *Server) instance(method string) *rpc.Instance {
	i := &rpc.Instance{
		Service: s.service, Name: s.opts.name, ID: s.id, Version: s.opts.version, Library: library(), State: s.State().Phase.String(),
		UptimeMS: time.Since(s.born).Milliseconds(),
	}
	switch method {
	case wire.Info:
		i.Info = s.info()
	case wire.Stats:
		i.Stats = s.counted()
	}
	return i
}

func (s *Server) info() *rpc.InstanceInfo {
	methods := slices.Sorted(maps.Keys(s.methods))
	more := max(0, len(methods)-maxListed)
	queueType := "classic"
	if s.opts.quorum > 0 {
		queueType = "quorum"
	}
	return &rpc.InstanceInfo{
		Methods: methods[:len(methods)-more], MoreMethods: more, Workers: s.opts.workers,
		Queue: wire.Queue(s.service), QueueType: queueType, PlainQueue: s.opts.queue, Store: kindOf(s.opts.store),
	}
}

// counted is Stats for the wire.
func (s *Server) counted() *rpc.InstanceStats {
	st := s.Stats()
	return &rpc.InstanceStats{
		Running: st.Running, Limit: st.Limit, Received: st.Received, Answered: st.Answered, Replayed: st.Replayed,
		Failed: st.Failed, Refused: st.Refused, Rejected: st.Rejected, Dropped: st.Dropped, Expired: st.Expired,
		Unroutable: st.Unroutable, Rerouted: st.Rerouted, Panics: st.Panics, Overdue: st.Overdue, Parked: st.Parked,
	}
}

// kindOf names a store by its package: one for each of those that this module has.
func kindOf(store idempotency.Store) string {
	switch store.(type) {
	case nil:
		return "none"
	case *idempotency.LRU:
		return "lru"
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(fmt.Sprintf("%T", store), "*"), ".")
	return name
}

// library is the version of this module in the program, "" if that was built without.
var library = sync.OnceValue(func() string {
	own := path.Dir("github.com/rabbitrpc/rabbitrpc/server")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == own {
			return m.Version
		}
	}
	return ""
})
