package config

import (
	"reflect"
	"strings"
)

// A Change is a key whose value differs between two configurations.
type Change struct {
	Key      string // such as log.level, or services.math.workers
	Service  string // the name of the service whose key it is, or empty
	From, To string // as they may be shown; empty if there is none
}

// Changes returns what differs in next. Services are told apart by their names.
func (c *Config) Changes(next *Config) (changes []Change) {
	before, order := c.values()
	after, added := next.values()
	for _, key := range added {
		if _, ok := before[key]; !ok {
			order = append(order, key)
		}
	}
	for _, key := range order {
		old, now := before[key], after[key]
		if reflect.DeepEqual(old.full, now.full) {
			continue
		}
		change := Change{Key: key, From: old.shown, To: now.shown}
		if rest, ok := strings.CutPrefix(key, "services."); ok {
			change.Service, _, _ = strings.Cut(rest, ".")
		}
		changes = append(changes, change)
	}
	return changes
}

// A value is what a key has, in full and as it may be shown.
type value struct {
	full  any
	shown string
}

func (c *Config) values() (all map[string]value, order []string) {
	all = make(map[string]value)
	visit := func(key string, v reflect.Value) {
		all[key] = value{full: v.Interface(), shown: text(v)}
		order = append(order, key)
	}
	root := *c
	root.Services = nil
	leaves("", reflect.ValueOf(root), visit)
	for i := range c.Services {
		leaves("services."+c.Services[i].Name, reflect.ValueOf(&c.Services[i]), visit)
	}
	return all, order
}
