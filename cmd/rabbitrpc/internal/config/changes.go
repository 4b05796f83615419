package config

import (
	"errors"
	"log/slog"
	"reflect"
	"slices"
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

// TakeOver takes over a key that is not of a service from another configuration, while a process runs with this one, and says
// from when on it is in force; "" if it needs a restart. It reads the files that it names.
func (c *Config) TakeOver(change Change, next *Config) (when string) {
	section, key, _ := strings.Cut(change.Key, ".")
	switch {
	case change.Key == "log.level":
		c.Log.Level = next.Log.Level
	case section == "broker" && key != "url" && key != "name":
		b := next.Broker
		b.Name = c.Broker.Name
		if b.URL != c.Broker.URL { // they are for another broker
			return ""
		}
		c.Broker = b
		return "with the next connection"
	case section == "gateway" && slices.Contains([]string{"token_file", "token", "timeout", "max_timeout", "drain"}, key):
		g := c.Gateway
		g.TokenFile, g.Token, g.Timeout, g.MaxTimeout, g.Drain =
			next.Gateway.TokenFile, next.Gateway.Token, next.Gateway.Timeout, next.Gateway.MaxTimeout, next.Gateway.Drain
		if g.Check() != nil { // no token any more, where others can connect until it is restarted
			return ""
		}
		c.Gateway = g
	default:
		return ""
	}
	return "now"
}

// Log says whether a change is in force, as TakeOver has it.
func (c *Change) Log(log *slog.Logger, when string) {
	if when == "" {
		log.Warn("needs a restart", "key", c.Key, "from", c.From, "to", c.To)
		return
	}
	log.Info("applied", "key", c.Key, "from", c.From, "to", c.To, "when", when)
}

// LogUnread says, line by line, why a configuration that was read again is not in force.
func LogUnread(log *slog.Logger, err error) {
	errs, ok := errors.AsType[Errors](err)
	if !ok {
		errs = Errors{err}
	}
	for _, err := range errs {
		log.Error("configuration not read: the old one stays in force", "err", err)
	}
}
