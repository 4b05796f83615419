package check

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// An operation is what a server sees of a call, and of those that ask for the same again: one put, get or cas of a key.
type operation struct {
	call     *history.Call // the one that was answered, or the first
	key      string
	value    string // that a put or cas writes
	old      string // that a cas wants
	invoked  time.Duration
	returned time.Duration // of the first answer; forever without one
	state    state
	got      string // answer to a get
	swapped  bool   // answer to a cas
}

// A state is what is known of an operation, each more than the one before.
type state uint8

const (
	idle state = iota // it had no effect
	open              // it had its effect at any time since it was invoked, or not yet
	done              // it was answered
)

const forever = time.Duration(math.MaxInt64)

// operations returns those of each key, with the keys in the order in which they were used.
func (x *index) operations(r *ruling) (keys []string, of map[string][]*operation) {
	of = make(map[string][]*operation)
	same := make(map[identity]*operation)
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Op != opPut && c.Op != opGet && c.Op != opCas {
			continue
		}
		o := same[identify(c)]
		if o == nil {
			var err error
			if o, err = newOperation(c); err != nil {
				r.breaks("%s: its input cannot be read: %s", who(c), short(c.Input))
				continue
			}
			same[identify(c)] = o
			if len(of[o.key]) == 0 {
				keys = append(keys, o.key)
			}
			of[o.key] = append(of[o.key], o)
		}
		if err := o.add(c, x.effects[c.Tag] > 0); err != nil {
			r.breaks("%s: its reply cannot be read: %s", who(c), short(c.Output))
		}
	}
	return keys, of
}

func newOperation(c *history.Call) (*operation, error) {
	var in struct{ Key, Value, Old, New text }
	if err := json.Unmarshal(c.Input, &in); err != nil {
		return nil, err
	}
	o := &operation{call: c, key: string(in.Key), value: string(in.Value), old: string(in.Old), invoked: c.Invoked, returned: forever}
	if c.Op == opCas {
		o.value = string(in.New)
	}
	return o, nil
}

// add takes in a call of the operation.
func (o *operation) add(c *history.Call, effect bool) error {
	o.invoked = min(o.invoked, c.Invoked)
	switch {
	case c.Outcome == history.OK && c.Returned < o.returned:
		var out struct {
			Value   text
			Swapped bool
		}
		if err := json.Unmarshal(c.Output, &out); err != nil {
			o.state = max(o.state, open)
			return err
		}
		o.call, o.returned, o.state, o.got, o.swapped = c, c.Returned, done, string(out.Value), out.Swapped
	case c.Outcome == history.Rejected && !effect, refusedBy(c) && !effect:
	default:
		o.state = max(o.state, open)
	}
	return nil
}

// A text is a value of a register: a string, or any other JSON as it is. A register that was never written reads as empty
// or null.
type text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(raw []byte) error {
	var s *string
	switch err := json.Unmarshal(raw, &s); {
	case err != nil:
		*t = text(raw)
	case s != nil:
		*t = text(*s)
	}
	return nil
}

func (o *operation) reads() bool { return o.call.Op == opGet }

// writes reports whether the operation may have written its value.
func (o *operation) writes() bool {
	return o.call.Op == opPut || o.call.Op == opCas && !o.refused()
}

// refused reports whether the operation is a swap that was answered not to be one.
func (o *operation) refused() bool { return o.call.Op == opCas && o.state == done && !o.swapped }

// knows reports whether the state of the register is known after the operation, and which it is.
func (o *operation) knows() (string, bool) {
	switch {
	case o.state != done:
		return "", false
	case o.reads():
		return o.got, true
	}
	return o.value, o.call.Op == opPut || o.swapped
}

// observes returns the value that the register must have had for the operation to be answered as it was.
func (o *operation) observes() (string, bool) {
	switch {
	case o.state != done:
		return "", false
	case o.reads():
		return o.got, true
	}
	return o.old, o.call.Op == opCas && o.swapped
}

func (o *operation) String() string {
	what := fmt.Sprintf("get is %q", o.got)
	switch {
	case o.call.Op == opPut:
		what = fmt.Sprintf("put of %q", o.value)
	case o.call.Op == opCas && o.state != done:
		what = fmt.Sprintf("cas from %q to %q", o.old, o.value)
	case o.call.Op == opCas:
		what = fmt.Sprintf("cas from %q to %q is %t", o.old, o.value, o.swapped)
	}
	end := "never answered"
	if o.state == done {
		end = "answered at " + at(o.returned)
	}
	return fmt.Sprintf("%s by %s at %s, %s (call %s)", what, o.call.Process, at(o.invoked), end, o.call.ID)
}
