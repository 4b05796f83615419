package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

// modelCall is a call as the contract has it: unknown without both holder and body.
type modelCall struct {
	fingerprint idempotency.Fingerprint
	holder      idempotency.Token // zero if nobody runs it
	body        string            // "" if it is not done
}

func (c *modelCall) begin(f idempotency.Fingerprint) idempotency.State {
	switch {
	case c.holder == idempotency.Token{} && c.body == "":
		return idempotency.New
	case c.fingerprint != f:
		return idempotency.Mismatch
	case c.body == "":
		return idempotency.InFlight
	}
	return idempotency.Done
}

// model is a few calls, and all tokens that were ever given out for them.
type model struct {
	s      idempotency.Store
	prefix string // of the IDs: a store serves many models
	calls  map[string]*modelCall
	tokens []idempotency.Token
	done   int // calls that were completed
}

// testModel compares the store with a model of the contract, for random sequences of what several holders do, with
// claims that they have and with those that they had.
func testModel(t *testing.T, s store) {
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := model{s: s.Store, prefix: fmt.Sprintf("model %d, ", n), calls: map[string]*modelCall{"a": {}, "b": {}, "c": {}}}
		defer m.end()
		t.Repeat(map[string]func(*rapid.T){"begin": m.begin, "complete": m.complete, "abandon": m.abandon})
	})
}

func (m *model) begin(t *rapid.T) {
	id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")
	f := rapid.SampledFrom([]idempotency.Fingerprint{fingerprint, fingerprint, other}).Draw(t, "fingerprint")
	call := m.calls[id]
	k := key
	k.ID = m.prefix + id
	begun, err := m.s.Begin(context.Background(), k, f)
	if want := call.begin(f); err != nil || begun.State != want {
		t.Fatalf("Begin(%s) = state %d, %v, want state %d", id, begun.State, err, want)
	}
	switch begun.State {
	case idempotency.New:
		for _, token := range m.tokens {
			if token == begun.Token {
				t.Fatalf("Begin(%s) = a token that was used before", id)
			}
		}
		call.fingerprint, call.holder = f, begun.Token
		m.tokens = append(m.tokens, begun.Token)
	case idempotency.Done:
		if got := string(begun.Record.Reply.Body); got != call.body {
			t.Fatalf("Begin(%s) = reply %q, want %q", id, got, call.body)
		}
	}
}

// token draws any token that was given out, and returns the call that is held by it, or nil.
func (m *model) token(t *rapid.T) (idempotency.Token, *modelCall) {
	if len(m.tokens) == 0 {
		t.Skip("no token yet")
	}
	token := rapid.SampledFrom(m.tokens).Draw(t, "token")
	if call := m.calls[token.Key.ID[len(m.prefix):]]; call.holder == token {
		return token, call
	}
	return token, nil
}

func (m *model) complete(t *rapid.T) {
	token, call := m.token(t)
	m.done++
	body := fmt.Sprintf("reply %d", m.done)
	m.wantEnded(t, call, m.s.Complete(context.Background(), token, reply(body)))
	if call != nil {
		call.body = body
	}
}

func (m *model) abandon(t *rapid.T) {
	token, call := m.token(t)
	m.wantEnded(t, call, m.s.Abandon(context.Background(), token))
}

// wantEnded checks what ending a claim returned: ErrLost if there was no call that it held.
func (m *model) wantEnded(t *rapid.T, call *modelCall, err error) {
	switch {
	case call == nil && !errors.Is(err, idempotency.ErrLost):
		t.Fatalf("ended a claim that was lost: %v, want ErrLost", err)
	case call != nil && err != nil:
		t.Fatalf("end a claim: %v", err)
	case call != nil:
		call.holder = idempotency.Token{}
	}
}

// end lets go of all claims, since a store may have room for few.
func (m *model) end() {
	for _, token := range m.tokens {
		_ = m.s.Abandon(context.Background(), token) // most are lost
	}
}
