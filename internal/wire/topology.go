package wire

import "github.com/rabbitrpc/rabbitrpc/conn"

// parkedMost bounds a parked queue; the oldest makes room.
const parkedMost = 10_000

// A Topology is what the broker has of a service: its exchange, its queue, which is bound to that, and the queue for what its
// servers will not run again. Servers declare it, or somebody with the rights to does it for them.
type Topology struct {
	Exchange conn.Exchange
	Queue    conn.Queue
	Parked   conn.Queue
}

// NewTopology returns the topology of a service. Quorum is the delivery limit of its queue, 0 for a classic one; maxQueue is how
// many requests may wait, 0 for any number.
func NewTopology(service string, quorum, maxQueue int) Topology {
	args := map[string]any{"x-dead-letter-exchange": ""} // and no routing key: that of the request leads back to its caller
	parked := map[string]any{"x-max-length": int64(parkedMost)}
	if quorum > 0 {
		args["x-queue-type"], parked["x-queue-type"] = "quorum", "quorum"
		args["x-delivery-limit"] = int64(quorum)
	}
	if maxQueue > 0 {
		args["x-max-length"] = int64(maxQueue)
		if quorum == 0 { // which knows no way but to drop its oldest
			args["x-overflow"] = "reject-publish-dlx" // with reject-publish a request is gone, and nobody told
		}
	}
	return Topology{
		Exchange: RequestExchange(service),
		Queue:    conn.Queue{Name: Queue(service), Durable: true, Args: args},
		Parked:   conn.Queue{Name: ParkedQueue(service), Durable: true, Args: parked},
	}
}

// RequestExchange is the exchange of a service.
func RequestExchange(service string) conn.Exchange {
	return conn.Exchange{Name: Exchange(service), Kind: "fanout", Durable: true}
}

// QuestionExchange is the exchange that all instances of all services are bound to.
var QuestionExchange = conn.Exchange{Name: DiscoveryExchange, Kind: "topic", Durable: true}

// PlainQueue is how the queue of that name is declared where it is not there: for callers that know nothing of this protocol.
func PlainQueue(name string) conn.Queue { return conn.Queue{Name: name, Durable: true} }
