package conntest

import (
	"crypto/rand"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// limits is what the arguments of a queue say. A negative number is no limit.
type limits struct {
	deadLetterTo  *string // exchange
	deadLetterKey *string
	ttl           time.Duration
	maxLength     int
	rejectPublish bool // drop no message that is in the queue
	deadLetterNew bool // dead-letter those that are refused
	quorum        bool
	deliveryLimit int
}

func (b *Broker) declareQueue(declared conn.Queue, s *session) (*queue, error) {
	var owner *session
	if declared.Exclusive {
		owner = s
	}
	if q := b.queue(declared.Name); q != nil && declared.Name != "" {
		return q, q.sameAs(declared, owner)
	}
	if declared.Name == "" {
		declared.Name = "amq.gen-" + rand.Text()
	} else if strings.HasPrefix(declared.Name, "amq.") {
		return nil, reserved("queue", declared.Name)
	}
	declared.Args = maps.Clone(declared.Args)
	limits, err := parseArgs(declared)
	if err != nil {
		return nil, err
	}
	q := &queue{b: b, Queue: declared, limits: limits, owner: owner}
	b.queues = append(b.queues, q)
	return q, nil
}

func (q *queue) sameAs(d conn.Queue, owner *session) error {
	if q.owner != owner {
		return locked(q.Name)
	}
	differs := ""
	switch {
	case q.Durable != d.Durable:
		differs = "durable"
	case q.AutoDelete != d.AutoDelete:
		differs = "auto_delete"
	default:
		for name := range q.Args {
			if _, ok := d.Args[name]; !ok {
				differs = name
			}
		}
		for name, value := range d.Args {
			if !sameArg(value, q.Args[name]) {
				differs = name
			}
		}
	}
	if differs == "" {
		return nil
	}
	return &conn.Error{Code: 406, Reason: fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/'", differs, q.Name)}
}

// sameArg compares as the broker does, to which all integers are one type.
func sameArg(x, y any) bool {
	i, ok := integer(x)
	j, also := integer(y)
	if ok && also {
		return i == j
	}
	return reflect.DeepEqual(x, y)
}

func integer(v any) (int64, bool) {
	r := reflect.ValueOf(v)
	switch {
	case r.IsValid() && r.CanInt():
		return r.Int(), true
	case r.IsValid() && r.CanUint():
		return int64(r.Uint()), true
	}
	return 0, false
}

func parseArgs(q conn.Queue) (limits, error) {
	l := limits{ttl: -1, maxLength: -1, deliveryLimit: -1}
	for name, value := range q.Args {
		text, isText := value.(string)
		n, isNumber := integer(value)
		ok := true
		switch name {
		case "x-dead-letter-exchange":
			l.deadLetterTo, ok = &text, isText
		case "x-dead-letter-routing-key":
			l.deadLetterKey, ok = &text, isText
		case "x-message-ttl":
			l.ttl, ok = time.Duration(n)*time.Millisecond, isNumber && n >= 0
		case "x-max-length":
			l.maxLength, ok = int(n), isNumber && n >= 0
		case "x-overflow":
			l.deadLetterNew = text == "reject-publish-dlx"
			l.rejectPublish = l.deadLetterNew || text == "reject-publish"
			ok = l.rejectPublish || text == "drop-head"
		case "x-queue-type":
			l.quorum, ok = text == "quorum", text == "classic" || text == "quorum"
		case "x-delivery-limit":
			l.deliveryLimit, ok = int(n), isNumber && n >= 0
		}
		if !ok {
			return l, &conn.Error{Code: 406, Reason: fmt.Sprintf("PRECONDITION_FAILED - invalid arg '%s' for queue '%s' in vhost '/'", name, q.Name)}
		}
	}
	if l.deadLetterKey != nil && l.deadLetterTo == nil {
		return l, &conn.Error{Code: 406, Reason: fmt.Sprintf("PRECONDITION_FAILED - routing-key but no exchange for queue '%s' in vhost '/'", q.Name)}
	}
	if l.quorum && (!q.Durable || q.Exclusive || q.AutoDelete) {
		return l, &conn.Error{Code: 406, Reason: fmt.Sprintf("PRECONDITION_FAILED - invalid property for quorum queue '%s' in vhost '/'", q.Name)}
	}
	if !l.quorum {
		l.deliveryLimit = -1
	}
	return l, nil
}
