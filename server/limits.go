package server

import (
	"cmp"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// Limits bound what a request may ask of a server, and what a handler may answer. A field that is 0 keeps its default. What
// each caller reads who is over one is in docs/operations.md.
type Limits struct {
	// Body is how many bytes the body of a request may have, as it arrives and decompressed: 1 to 512 MiB, default 4 MiB.
	// As many are in memory for each worker, and twice as many for a while where a body is compressed.
	Body int

	// Ratio is how many times longer than it was a compressed body may become: 1 to 100000, default 100.
	Ratio int

	// JSONDepth is how deep arrays and objects may be nested in a body that is JSON, whatever handler gets it: 1 to 10000,
	// default 128. Messages of protobuf may be nested 128 deep, which only decoding tells.
	JSONDepth int

	// Headers is how many headers a request may have, RabbitMQ's own included: 16 to 8192, default 64.
	Headers int

	// HeaderBytes is how many bytes the names and values of these may have, with 8 for each value: 1 KiB to 128 KiB,
	// default 16 KiB.
	HeaderBytes int

	// Timeout is the longest timeout of a call: 1ms to 24h, which is the default.
	Timeout time.Duration

	// Reply is how many bytes the body of a reply may have: 1 to 512 MiB, default 4 MiB. Keep it below what the broker
	// takes, which is 16 MiB by default since RabbitMQ 4.0: more ends the session, with the replies of all others in it.
	Reply int
}

// WithLimits sets the limits of requests and replies. Default: see [Limits].
func WithLimits(l Limits) Option {
	return func(o *options) {
		d := o.limits
		o.limits = Limits{
			Body: cmp.Or(l.Body, d.Body), Ratio: cmp.Or(l.Ratio, d.Ratio), JSONDepth: cmp.Or(l.JSONDepth, d.JSONDepth),
			Headers: cmp.Or(l.Headers, d.Headers), HeaderBytes: cmp.Or(l.HeaderBytes, d.HeaderBytes),
			Timeout: cmp.Or(l.Timeout, d.Timeout), Reply: cmp.Or(l.Reply, d.Reply),
		}
	}
}

var defaultLimits = func(l wire.Limits) Limits {
	return Limits{
		Body: l.Body, Ratio: l.Ratio, JSONDepth: l.JSONDepth, Headers: l.Headers, HeaderBytes: l.HeaderBytes, Timeout: l.Timeout,
		Reply: l.Body,
	}
}(wire.DefaultLimits)

// ofRequests returns the limits that a request is checked for.
func (l Limits) ofRequests() wire.Limits {
	return wire.Limits{
		Body: l.Body, Ratio: l.Ratio, JSONDepth: l.JSONDepth, Headers: l.Headers, HeaderBytes: l.HeaderBytes, Timeout: l.Timeout,
	}
}

const (
	maxMessage = 512 << 20      // RabbitMQ takes no more, however it is set up
	maxTimeout = 24 * time.Hour // of the protocol
	maxDepth   = 10_000         // of encoding/json
	maxHeaders = 8192           // more end the connection of a consumer that uses the AMQP library
	maxFrame   = 128 << 10      // which holds all headers
	minHeaders = 16             // the protocol's and the broker's own
	minFrame   = 1 << 10        // for these
	maxRatio   = 100_000        // zstd makes 128 KiB of 4 bytes
)

func (l Limits) validate() error {
	for _, f := range [...]struct {
		name             string
		got, least, most int
	}{
		{"Body", l.Body, 1, maxMessage},
		{"Ratio", l.Ratio, 1, maxRatio},
		{"JSONDepth", l.JSONDepth, 1, maxDepth},
		{"Headers", l.Headers, minHeaders, maxHeaders},
		{"HeaderBytes", l.HeaderBytes, minFrame, maxFrame},
		{"Reply", l.Reply, 1, maxMessage},
	} {
		if f.got < f.least || f.got > f.most {
			return fmt.Errorf("server.Limits.%s must be %d to %d, got %d", f.name, f.least, f.most, f.got)
		}
	}
	if l.Timeout < time.Millisecond || l.Timeout > maxTimeout {
		return fmt.Errorf("server.Limits.Timeout must be 1ms to %v, got %v", maxTimeout, l.Timeout)
	}
	return nil
}
