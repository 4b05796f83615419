package simulation

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	accounts = 3
	opening  = 100 // what each account has at the start
)

// A payment is what callers ask for. N is a number of its own for each payload of each call.
type payment struct {
	N        int
	From, To int
	Amount   int
	Memo     string // has the secret in it
}

// A receipt is what they get.
type receipt struct {
	N            int
	ID           string
	Client, User string
	Run          int    // of a handler, of all runs in the world
	Life         string // of the server
	Balances     []int  // of a read
}

var (
	transfer = rpc.Method[payment, receipt]{Service: "bank", Name: "transfer"}
	read     = rpc.Method[payment, receipt]{Service: "bank", Name: "read"}
)

// A who is a call as its ledger knows it, whatever a store takes for its key.
type who struct{ user, client, method, id string }

func whoOf(r *rpc.Request) who { return who{r.User, r.Client, r.Method, r.ID} }

// A run is one start of a handler.
type run struct {
	who
	n           int // number of the run
	payment     payment
	ask         int // that the request was sent for
	life        string
	at          time.Time
	late        bool // after the deadline
	redelivered bool
	read        bool      // has no effect
	applied     time.Time // zero: it had none
}

// A bank holds the accounts, and the ledger of all runs.
type bank struct {
	mu       sync.Mutex // guards what follows
	balances [accounts]int
	versions [accounts]int // counts the changes of each account
	runs     []*run
	of       map[who]int // runs of a call so far
}

func newBank() *bank {
	b := &bank{of: make(map[who]int)}
	for i := range b.balances {
		b.balances[i] = opening
	}
	return b
}

// start enters a run into the ledger, and returns how many the call had before.
func (b *bank) start(ctx context.Context, r *rpc.Request, p payment, life string) (x *run, before int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ask, _ := strconv.Atoi(r.Header[askHeader])
	x = &run{ask: ask, who: whoOf(r), n: len(b.runs) + 1, payment: p, life: life, at: time.Now(), late: ctx.Err() != nil, redelivered: r.Redelivered, read: r.Method == read.Name}
	b.runs = append(b.runs, x)
	before = b.of[x.who]
	b.of[x.who]++
	return x, before
}

var errPoor = rpc.Errorf(rpc.FailedPrecondition, "not enough money")

// transfer moves the money at once, outside of any transaction.
func (b *bank) transfer(x *run) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.balances[x.payment.From] < x.payment.Amount {
		return errPoor
	}
	b.apply(x)
	return nil
}

func (b *bank) apply(x *run) {
	b.balances[x.payment.From] -= x.payment.Amount
	b.balances[x.payment.To] += x.payment.Amount
	b.versions[x.payment.From]++
	b.versions[x.payment.To]++
	x.applied = time.Now()
}

func (b *bank) read() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.balances[:])
}

// A transaction holds back what a run does until it is committed.
type transaction struct {
	bank     *bank
	run      *run // nil: it has done nothing
	versions [accounts]int
}

type transactionKey struct{}

func transactionOf(ctx context.Context) *transaction {
	t, _ := ctx.Value(transactionKey{}).(*transaction)
	return t
}

func (t *transaction) transfer(x *run) error {
	t.bank.mu.Lock()
	defer t.bank.mu.Unlock()
	if t.bank.balances[x.payment.From] < x.payment.Amount {
		return errPoor
	}
	t.run, t.versions = x, t.bank.versions
	return nil
}

var errConflict = errors.New("another transaction was there first")

// commit applies what the run has done, unless somebody has changed what that rests on.
func (t *transaction) commit() error {
	if t.run == nil {
		return nil
	}
	t.bank.mu.Lock()
	defer t.bank.mu.Unlock()
	from := t.run.payment.From
	if t.bank.versions[from] != t.versions[from] {
		return errConflict
	}
	t.bank.apply(t.run)
	return nil
}
