package conntest

import (
	"maps"
	"slices"
	"time"
)

// deadLetter sends a message that q gives up to where q's arguments say, with its history in its headers.
func (b *Broker) deadLetter(q *queue, m *message, reason string) {
	if q.deadLetterTo == nil {
		return
	}
	d := message{Message: m.Message, keys: m.keys, deaths: buried(m, q, reason)}
	d.Headers = maps.Clone(m.Headers)
	if d.Headers == nil {
		d.Headers = make(map[string]any)
	}
	d.Exchange = *q.deadLetterTo
	if q.deadLetterKey != nil {
		d.Key, d.keys = *q.deadLetterKey, []string{*q.deadLetterKey}
		delete(d.Headers, "CC")
	}
	d.Expiration = "" // or it would expire again
	if len(m.deaths) == 0 {
		d.Headers["x-first-death-reason"] = reason
		d.Headers["x-first-death-queue"] = q.Name
		d.Headers["x-first-death-exchange"] = m.Exchange
	}
	d.Headers["x-death"] = history(d.deaths)
	queues, _ := b.route(d.Exchange, d.keys) // no such exchange: the message is lost
	for _, to := range queues {
		if !cycle(to.Name, d.deaths) {
			to.add(d)
		}
	}
}

// buried returns the deaths of m with the latest.
func buried(m *message, q *queue, reason string) []death {
	now := death{queue: q.Name, reason: reason, exchange: m.Exchange, keys: m.keys, expiration: m.Expiration, count: 1, at: time.Now()}
	deaths := []death{now}
	for _, d := range m.deaths {
		if d.queue == q.Name && d.reason == reason {
			d.count++
			deaths[0] = d
		} else {
			deaths = append(deaths, d)
		}
	}
	return deaths
}

// cycle reports whether the message has been in the queue and came back with nobody having rejected it: it would go round
// for ever.
func cycle(queue string, deaths []death) bool {
	i := slices.IndexFunc(deaths, func(d death) bool { return d.queue == queue })
	return i >= 0 && !slices.ContainsFunc(deaths[:i+1], func(d death) bool { return d.reason == "rejected" })
}

// history is the x-death header.
func history(deaths []death) []any {
	var list []any
	for _, d := range deaths {
		keys := make([]any, len(d.keys))
		for i := range d.keys {
			keys[i] = d.keys[i]
		}
		entry := map[string]any{
			"reason": d.reason, "queue": d.queue, "exchange": d.exchange, "count": d.count,
			"routing-keys": keys, "time": wireTime(d.at),
		}
		if d.expiration != "" {
			entry["original-expiration"] = d.expiration
		}
		list = append(list, entry)
	}
	return list
}
