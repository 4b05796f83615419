// Package failpoint lets tests break a process at a chosen point of its code. The environment variable
// RABBITRPC_FAILPOINTS orders it, as a comma-separated list of point=action or point=action@n, where n is the time that
// the point is passed, from 1, the default. Without it a point costs one comparison.
//
// The actions are
//
//	kill    SIGKILL to the process itself
//	freeze  SIGSTOP to the process itself, which goes on when somebody sends SIGCONT
//	panic   a panic
//	hang    the goroutine never goes on
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Env is the name of the variable that orders what breaks.
const Env = "RABBITRPC_FAILPOINTS"

type point struct {
	do     func(name string)
	at     int64 // which pass it is for
	passed atomic.Int64
}

var points = mustParse(os.Getenv(Env))

// Hit breaks the process if that was ordered for the point.
func Hit(name string) {
	if points == nil {
		return
	}
	if p := points[name]; p != nil && p.passed.Add(1) == p.at {
		p.do(name)
	}
}

func mustParse(orders string) map[string]*point {
	m, err := parse(orders)
	if err != nil {
		panic(err) // a chaos run that breaks nothing would prove nothing
	}
	return m
}

func parse(orders string) (map[string]*point, error) {
	if orders == "" {
		return nil, nil
	}
	m := make(map[string]*point)
	for order := range strings.SplitSeq(orders, ",") {
		name, action, ok := strings.Cut(order, "=")
		if !ok {
			return nil, fmt.Errorf("%s: %q is not point=action", Env, order)
		}
		action, times, counted := strings.Cut(action, "@")
		p := &point{do: actions[action], at: 1}
		if p.do == nil {
			return nil, fmt.Errorf("%s: %q is not kill, freeze, panic or hang", Env, action)
		}
		if counted {
			n, err := strconv.ParseInt(times, 10, 64)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%s: %q is not a number from 1", Env, times)
			}
			p.at = n
		}
		m[name] = p
	}
	return m, nil
}

var actions = map[string]func(name string){
	"kill":   func(string) { kill() },
	"freeze": func(string) { freeze() },
	"panic":  func(name string) { panic("failpoint " + name) },
	"hang":   func(string) { select {} },
}

// kill ends the process as SIGKILL from outside would: nothing that is deferred runs.
func kill() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill() // nothing could be done about it
	}
	select {} // the signal may take a moment
}
