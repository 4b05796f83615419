package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

var kinds = func() map[string]reflect.Type {
	types := make(map[string]reflect.Type)
	for _, f := range []Fault{
		Latency{}, Bandwidth{}, Stall{}, HalfOpen{}, Reset{}, HangUp{}, Refuse{}, Impostor{},
		Drop{}, Delay{}, Duplicate{}, Cut{},
	} {
		types[kind(f)] = reflect.TypeOf(f)
	}
	return types
}()

// AnyFault is a fault of any kind, for what is written as JSON and replayed: {"latency": {"delay": "500ms"}}.
type AnyFault struct{ Fault }

// MarshalJSON writes an object with one field: the kind.
func (a AnyFault) MarshalJSON() ([]byte, error) {
	if a.Fault == nil {
		return []byte("null"), nil
	}
	f := plain(a.Fault)
	return json.Marshal(map[string]Fault{kind(f): f})
}

// UnmarshalJSON reads what MarshalJSON writes. A kind or a field that there is not, and a value that is not allowed, is
// an error.
func (a *AnyFault) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	if len(object) != 1 {
		return errors.New("fault: want an object with one field, the kind of fault")
	}
	for name, fields := range object {
		t, ok := kinds[name]
		if !ok {
			return fmt.Errorf("fault: no kind %q", name)
		}
		v := reflect.New(t)
		if err := decode(fields, v.Interface()); err != nil {
			return fmt.Errorf("fault %s: %w", name, err)
		}
		a.Fault = v.Elem().Interface().(Fault)
	}
	return validate(a.Fault)
}

func validate(f Fault) error {
	if err := f.Validate(); err != nil {
		return fmt.Errorf("fault %s: %w", kind(f), err)
	}
	return nil
}

func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// A span is a duration that JSON shows as in "500ms".
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = span(d)
	return err
}

type latencyJSON struct {
	Delay  span      `json:"delay"`
	Jitter span      `json:"jitter,omitzero"`
	Dir    Direction `json:"dir,omitzero"`
	Conn   string    `json:"conn,omitempty"`
}

// MarshalJSON writes durations as text.
func (f Latency) MarshalJSON() ([]byte, error) {
	return json.Marshal(latencyJSON{span(f.Delay), span(f.Jitter), f.Dir, f.Conn})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (f *Latency) UnmarshalJSON(b []byte) error {
	var j latencyJSON
	err := decode(b, &j)
	*f = Latency{time.Duration(j.Delay), time.Duration(j.Jitter), j.Dir, j.Conn}
	return err
}

type delayJSON struct {
	Method string    `json:"method"`
	For    span      `json:"for"`
	Nth    int       `json:"nth,omitempty"`
	Dir    Direction `json:"dir,omitzero"`
	Conn   string    `json:"conn,omitempty"`
}

// MarshalJSON writes durations as text.
func (f Delay) MarshalJSON() ([]byte, error) {
	return json.Marshal(delayJSON{f.Method, span(f.For), f.Nth, f.Dir, f.Conn})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (f *Delay) UnmarshalJSON(b []byte) error {
	var j delayJSON
	err := decode(b, &j)
	*f = Delay{j.Method, time.Duration(j.For), j.Nth, j.Dir, j.Conn}
	return err
}
