package storetest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

// brokenEnv says in what way the store of a process is broken, whose tests are to fail.
const brokenEnv = "RABBITRPC_STORETEST_BROKEN"

// wantFailures runs cases of a test of this package with a store that is broken, and checks that each fails.
func wantFailures(t *testing.T, test, how string, cases ...string) {
	t.Helper()
	run := "^" + test + "$/^(" + strings.Join(cases, "|") + ")$"
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-rapid.nofailfile", "-rapid.seed=1", "-test.run="+strings.ReplaceAll(run, " ", "_"))
	c.Env = append(os.Environ(), brokenEnv+"="+how, "GORACE=atexit_sleep_ms=0")
	out, err := c.CombinedOutput()
	for _, name := range cases {
		if want := "--- FAIL: " + strings.ReplaceAll(test+"/"+name, " ", "_") + " "; err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, want %q:\n%s", err, want, out)
		}
	}
}

// broken is a store in memory that breaks the contract in one way.
type broken struct {
	idempotency.Store
	how string

	mu   sync.Mutex // guards all below
	held map[idempotency.Key]idempotency.Token
	done map[idempotency.Key]*idempotency.Record
}

func newBroken(t *testing.T, how string) *broken {
	t.Helper()
	lru, err := idempotency.NewLRU()
	if err != nil {
		t.Fatal(err)
	}
	return &broken{
		Store: lru, how: how,
		held: make(map[idempotency.Key]idempotency.Token), done: make(map[idempotency.Key]*idempotency.Record),
	}
}

func (b *broken) Begin(ctx context.Context, k idempotency.Key, f idempotency.Fingerprint) (idempotency.Begun, error) {
	switch b.how {
	case "ignores the context":
		ctx = context.WithoutCancel(ctx)
	case "ignores the payload":
		f = idempotency.Fingerprint{}
	}
	begun, err := b.Store.Begin(ctx, b.key(k), f)
	begun.Token.Key = k
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case begun.State == idempotency.New:
		b.held[k] = begun.Token
		if b.how == "counts wrong" {
			begun.Claims++
		}
		if b.how == "binds nothing of the call" {
			begun.Bind = func(context.Context) context.Context { return context.Background() }
		}
	case b.how == "lets two in" && begun.State == idempotency.InFlight:
		begun = idempotency.Begun{State: idempotency.New, Token: b.held[k], Claims: 1}
	case b.how == "shares records" && begun.State == idempotency.Done:
		begun.Record = b.done[k]
	}
	return begun, err
}

func (b *broken) Complete(ctx context.Context, token idempotency.Token, record *idempotency.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := record.Clone()
	token.Key = b.key(token.Key)
	switch b.how {
	case "takes any token":
		token = b.held[token.Key]
	case "lets go at the end of the context":
		if ctx.Err() != nil {
			_ = b.Store.Abandon(ctx, token)
			return idempotency.ErrLost
		}
	case "cuts replies":
		if r.Reply != nil {
			r.Reply.Body = r.Reply.Body[:min(len(r.Reply.Body), 4<<20-1)]
		}
	case "cuts errors":
		if r.Err != nil {
			r.Err.Remote = false
		}
	case "does not complete":
		return nil
	case "forgets":
		if strings.HasPrefix(token.Key.ID, "call 1") {
			return b.Store.Abandon(ctx, token)
		}
	case "overwrites":
		if old := b.done[token.Key]; old != nil {
			*old = *r
			return nil
		}
	}
	b.done[token.Key] = r
	return b.Store.Complete(ctx, token, r)
}

func (b *broken) Abandon(ctx context.Context, token idempotency.Token) error {
	token.Key = b.key(token.Key)
	return b.Store.Abandon(ctx, token)
}

func (b *broken) key(k idempotency.Key) idempotency.Key {
	if b.how == "ignores the user" {
		k.User = ""
	}
	return k
}

// TestBroken is for processes whose store is broken.
func TestBroken(t *testing.T) {
	how, ok := os.LookupEnv(brokenEnv)
	if !ok {
		t.Skip("is run by others")
	}
	Run(t, func(t *testing.T) idempotency.Store { return newBroken(t, how) })
}

func TestRunFinds(t *testing.T) {
	for how, cases := range map[string][]string{
		"ignores the context":               {"context has ended"},
		"ignores the user":                  {"keys are told apart"},
		"ignores the payload":               {"mismatch changes nothing", "as the model"},
		"counts wrong":                      {"new, in flight, done"},
		"binds nothing of the call":         {"bound context"},
		"lets two in":                       {"one of many is new", "done while others begin", "many keys, many holders", "as the model"},
		"shares records":                    {"records are not shared", "done while others begin", "as the model"},
		"takes any token":                   {"claim of another is lost", "forged token is lost", "as the model"},
		"lets go at the end of the context": {"context has ended"},
		"cuts replies":                      {"reply is kept"},
		"cuts errors":                       {"error is kept"},
		"does not complete":                 {"new, in flight, done", "context has ended"},
		"overwrites":                        {"ended claim is lost", "as the model"},
		"forgets":                           {"done while others begin", "many keys, many holders"},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			wantFailures(t, "TestBroken", how, cases...)
		})
	}
}
