package chaos

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
)

// A Filter drops packets in a network namespace, and tells nobody: whoever sent one hears nothing, as on a line that is cut.
type Filter struct {
	ns    *namespace
	what  string
	chain string

	mu      sync.Mutex // guards what follows
	healed  bool
	dropped int // when it was healed
}

// errOutside tells that packets of this node are those of the machine.
var errOutside = errors.New("it is not in a network namespace: start it with InNamespace, or in a Cluster")

var filters atomic.Int64 // gives each its name

// filter drops the packets that any of the matches is for, in the language of nft.
func (ns *namespace) filter(what string, matches ...string) (*Filter, error) {
	if ns == nil {
		return nil, fmt.Errorf("%s: %w", what, errOutside)
	}
	f := &Filter{ns: ns, what: what, chain: fmt.Sprintf("inet chaos filter%d", filters.Add(1))}
	rules := "add table inet chaos; add chain " + f.chain + " { type filter hook input priority 0; }"
	for _, m := range matches {
		rules += "; add rule " + f.chain + " " + m + " counter drop"
	}
	if err := ns.run("nft", rules); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return f, nil
}

// String says what the filter does, in a few words, for a timeline.
func (f *Filter) String() string { return f.what }

var counter = regexp.MustCompile(`counter packets ([0-9]+)`)

// Dropped returns how many packets the filter has dropped so far. A test in which that is none shows nothing.
func (f *Filter) Dropped() (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count()
}

func (f *Filter) count() (int, error) {
	if f.healed {
		return f.dropped, nil
	}
	rules, err := f.ns.output("nft", "list chain "+f.chain)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.what, err)
	}
	sum := 0
	for _, m := range counter.FindAllStringSubmatch(rules, -1) {
		n, _ := strconv.Atoi(m[1]) // it has digits
		sum += n
	}
	return sum, nil
}

// Heal lets packets through again. A second Heal does nothing.
func (f *Filter) Heal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dropped, err := f.count()
	if err != nil || f.healed {
		return err
	}
	if err := f.ns.run("nft", "flush chain "+f.chain+"; delete chain "+f.chain); err != nil {
		return fmt.Errorf("heal %s: %w", f.what, err)
	}
	f.healed, f.dropped = true, dropped
	return nil
}
