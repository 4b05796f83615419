package gateway

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/traceparent"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// switches are the headers that turn something on.
var switches = map[string]func() client.CallOption{
	"Rabbitrpc-Wait":         client.WaitForServer,
	"Rabbitrpc-At-Most-Once": client.AtMostOnce,
	"Rabbitrpc-Durable":      client.Durable,
}

// options reads how a call is to be made, and under which ID.
func (s *settings) options(h http.Header) (id string, opts []client.CallOption, err *rpc.Error) {
	id = callID(h.Get("Idempotency-Key"))
	if len(h.Values("Idempotency-Key")) > 1 { // which one a proxy takes is anybody's guess
		return id, nil, refused(rpc.InvalidArgument, "Idempotency-Key is there twice")
	}
	if id == "" {
		id = uuid.NewString()
	}
	timeout, err := s.timeout(h)
	if err != nil {
		return id, nil, err
	}
	opts = append(opts, client.WithCallID(id), client.WithTimeout(timeout))
	for name, option := range switches {
		if value := h.Get(name); value != "" {
			on, err := strconv.ParseBool(value)
			if err != nil {
				return id, nil, refused(rpc.InvalidArgument, "%s must be true or false, got %.20q", name, value)
			}
			if on {
				opts = append(opts, option())
			}
		}
	}
	return id, opts, nil
}

// trace takes over the trace of a request: for this process, if it makes traces, and for the server if it does not.
func trace(r *http.Request) (context.Context, rpc.Header) {
	header := make(rpc.Header)
	for _, name := range []string{traceparent.Parent, traceparent.State} {
		if value := strings.Join(r.Header.Values(name), ","); value != "" { // a state may be spread over several
			header[name] = value
		}
	}
	return propagation.TraceContext{}.Extract(r.Context(), propagation.MapCarrier(header)), header
}

// callID is an Idempotency-Key: a string in quotes, as its draft has it, or as it is, as many send it.
func callID(key string) string {
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(key[1 : len(key)-1])
	}
	return key
}

// timeout is the shorter one of Grpc-Timeout and Request-Timeout, or the default. More than MaxTimeout is MaxTimeout.
func (s *settings) timeout(h http.Header) (time.Duration, *rpc.Error) {
	timeout, said := s.MaxTimeout, false
	for name, parse := range map[string]func(string) (time.Duration, bool){"Grpc-Timeout": grpcTimeout, "Request-Timeout": seconds} {
		value := h.Get(name)
		if value == "" {
			continue
		}
		d, ok := parse(value)
		if !ok {
			return 0, refused(rpc.InvalidArgument, "%s is no timeout: %.20q", name, value)
		}
		timeout, said = min(timeout, d), true
	}
	if !said {
		return s.Timeout, nil
	}
	return max(timeout, time.Millisecond), nil
}

var grpcUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// grpcTimeout reads up to eight digits and a unit.
func grpcTimeout(value string) (time.Duration, bool) {
	digits := value[:len(value)-1]
	unit := grpcUnits[value[len(value)-1]]
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || unit == 0 || len(digits) > 8 {
		return 0, false
	}
	return time.Duration(min(n, uint64(math.MaxInt64/unit))) * unit, true
}

const maxSeconds = 24 * 60 * 60 // more than any call may take

// seconds reads a number of seconds, which may have decimals.
func seconds(value string) (time.Duration, bool) {
	s, err := strconv.ParseFloat(value, 64)
	if err != nil || s <= 0 || math.IsInf(s, 0) || math.IsNaN(s) {
		return 0, false
	}
	return time.Duration(min(s, maxSeconds) * float64(time.Second)), true
}
