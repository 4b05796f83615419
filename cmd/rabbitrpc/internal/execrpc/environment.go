package execrpc

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/traceparent"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func (c *Config) checkEnv() error {
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if !isVariable(name) {
			return wrong("env", "must have names of variables, got %q", name)
		}
		if strings.ContainsRune(string(c.Env[name]), 0) {
			return wrong("env."+name, "must not contain a NUL byte")
		}
	}
	for _, name := range c.PassEnv {
		if !isVariable(name) {
			return wrong("pass_env", "must have names of variables, got %q", name)
		}
	}
	return nil
}

func isVariable(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00") }

// environment is what the program gets whatever the call.
func (c *Config) environment() (env []string) {
	for _, name := range append([]string{"PATH"}, c.PassEnv...) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+string(c.Env[name]))
	}
	return env
}

// errNUL is of a request that the environment of a program cannot hold.
var errNUL = errors.New("NUL byte in the call's ID, content type or headers")

// ofCall is what a program that answers one call gets beside: what is known of the call. Names are fixed, so that a caller
// cannot set a variable of its choice.
func ofCall(ctx context.Context, r *rpc.Request) ([]string, error) {
	env := []string{
		"RABBITRPC_SERVICE=" + r.Service,
		"RABBITRPC_METHOD=" + r.Method,
		"RABBITRPC_CALL_ID=" + r.ID,
		"RABBITRPC_CALLER=" + r.Client,
		"RABBITRPC_USER=" + r.User,
		"RABBITRPC_ATTEMPT=" + strconv.Itoa(r.Attempt),
		"RABBITRPC_CONTENT_TYPE=" + contentType(r),
	}
	if left, ok := timeLeft(ctx); ok {
		env = append(env, "RABBITRPC_TIMEOUT_MS="+strconv.FormatInt(left, 10))
	}
	parent, state := traceparent.Of(ctx, r)
	if parent != "" {
		env = append(env, "TRACEPARENT="+parent) // these two as OpenTelemetry has it
	}
	if state != "" {
		env = append(env, "TRACESTATE="+state)
	}
	for _, v := range env {
		if strings.ContainsRune(v, 0) {
			return nil, errNUL
		}
	}
	return env, nil
}

func contentType(r *rpc.Request) string {
	if r.ContentType == "" {
		return rpc.ContentTypeJSON
	}
	return r.ContentType
}

// timeLeft is the time until the deadline, in milliseconds, rounded down.
func timeLeft(ctx context.Context) (ms int64, ok bool) {
	deadline, ok := ctx.Deadline()
	return max(0, time.Until(deadline).Milliseconds()), ok
}
