package conntest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// An exchange knows which queues want which routing keys.
type exchange struct {
	conn.Exchange
	bindings []binding
}

type binding struct {
	queue *queue
	key   string
}

// predeclared returns the exchanges that RabbitMQ begins with, but for the default one, which needs no bindings.
func predeclared() map[string]*exchange {
	all := make(map[string]*exchange)
	for name, kind := range map[string]string{
		"amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic", "amq.headers": "headers", "amq.match": "headers",
	} {
		all[name] = &exchange{Exchange: conn.Exchange{Name: name, Kind: kind, Durable: true}}
	}
	return all
}

// route returns the queues that take a message with these keys, each once, and false if there is no such exchange.
func (b *Broker) route(name string, keys []string) (queues []*queue, ok bool) {
	take := func(q *queue) {
		if !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	if name == "" {
		for _, key := range keys {
			if q := b.queue(key); q != nil {
				take(q)
			}
		}
		return queues, true
	}
	x := b.exchanges[name]
	if x == nil {
		return nil, false
	}
	for _, bind := range x.bindings {
		if slices.ContainsFunc(keys, func(key string) bool { return x.matches(bind.key, key) }) {
			take(bind.queue)
		}
	}
	return queues, true
}

func (x *exchange) matches(pattern, key string) bool {
	switch x.Kind {
	case "direct":
		return pattern == key
	case "topic":
		return topicMatches(strings.Split(pattern, "."), strings.Split(key, "."))
	default: // a headers binding without arguments takes everything, as a fanout does
		return true
	}
}

// topicMatches compares word by word: "*" stands for one word, "#" for any number of them.
func topicMatches(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		return topicMatches(pattern[1:], key) || len(key) > 0 && topicMatches(pattern, key[1:])
	case len(key) == 0:
		return false
	default:
		return (pattern[0] == "*" || pattern[0] == key[0]) && topicMatches(pattern[1:], key[1:])
	}
}

func (b *Broker) declareExchange(e conn.Exchange) error {
	x := b.exchanges[e.Name]
	switch {
	case e.Name == "":
		return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED - operation not permitted on the default exchange"}
	case x != nil && x.Exchange == e:
		return nil
	case x != nil:
		return &conn.Error{Code: 406, Reason: fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg for exchange '%s' in vhost '/'", e.Name)}
	case strings.HasPrefix(e.Name, "amq."):
		return reserved("exchange", e.Name)
	}
	b.exchanges[e.Name] = &exchange{Exchange: e}
	return nil
}

func reserved(what, name string) error {
	return &conn.Error{Code: 403, Reason: fmt.Sprintf("ACCESS_REFUSED - %s name '%s' contains reserved prefix 'amq.*'", what, name)}
}

// bindable finds an exchange that queues may be bound to.
func (b *Broker) bindable(name string) (*exchange, error) {
	if name == "" {
		return nil, &conn.Error{Code: 403, Reason: "ACCESS_REFUSED - operation not permitted on the default exchange"}
	}
	x := b.exchanges[name]
	if x == nil {
		return nil, noExchange(name)
	}
	return x, nil
}

func (x *exchange) bind(q *queue, key string) {
	if bind := (binding{q, key}); !slices.Contains(x.bindings, bind) {
		x.bindings = append(x.bindings, bind)
	}
}

func noExchange(name string) error {
	return &conn.Error{Code: 404, Reason: fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", name)}
}
