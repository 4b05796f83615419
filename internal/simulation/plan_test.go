package simulation

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A memory is what servers remember with.
type memory int

const (
	none         memory = iota
	lru                 // each server for itself, for as long as it lives
	claims              // shared, with leases
	transactions        // shared, effect and record in one
)

// memories are drawn from. The more a memory promises, the more there is to break.
var memories = []memory{none, none, lru, claims, claims, transactions, transactions}

func (m memory) String() string { return [...]string{"none", "lru", "claims", "transactions"}[m] }

// A plan is all that is decided beforehand, by the seed alone.
type plan struct {
	seed      uint64
	memory    memory
	servers   int
	workers   int
	slowStore bool
	refuses   int  // of a hundred attempts, by the handler
	lenient   bool // what comes back is not refused again
	inFlight  int  // calls of one client
	callers   [][]*ask
	faults    []fault
}

// The clients. Two processes are alice, as one that was restarted while its old self lives on; another one has her name and
// is somebody else.
var tenants = [...]struct{ name, user string }{{"alice", ""}, {"alice", ""}, {"alice", "eve"}, {"bob", ""}}

const clients = len(tenants)

// An ask is one call that a caller makes.
type ask struct {
	seq     int // of all asks
	n       int // of the payload: the same for the same call, asked again
	client  int
	id      string
	pause   time.Duration // before
	payment payment
	read    bool

	once, durable, failFast, wait, noRetry bool

	timeout time.Duration
	cancel  time.Duration // 0: never
	patient bool          // has the time to see the end of all faults
}

// A fault strikes a server, or a client.
type fault struct {
	at   time.Duration // after the one before
	kind int           // in the table of faults
	who  int           // which server or client
	n    int           // at which event from now on
	d    time.Duration
}

const (
	asks       = 5   // of each caller
	clientBody = 700 // bytes that a client lets pass
	serverBody = 500
)

const (
	secretOfCaller = "s3cret-of-caller"
	secretOfServer = "s3cret-of-server"
)

func newPlan(seed uint64) *plan {
	random := rand.New(rand.NewPCG(seed, 0))
	p := &plan{
		seed: seed, memory: memories[random.IntN(len(memories))], servers: 1 + random.IntN(3), workers: 2 + random.IntN(2),
		slowStore: random.IntN(2) == 0, refuses: []int{5, 15, 50}[random.IntN(3)], inFlight: 6,
	}
	once := random.IntN(4) == 0     // a world in which all is to be executed at most once
	noRetry := random.IntN(4) == 0  // one in which they take the first no for an answer
	stubborn := random.IntN(3) == 0 // one in which callers ask for the same again and again
	var before []*ask
	for range 3 + random.IntN(4) {
		var caller []*ask
		client := random.IntN(clients)
		for range asks {
			a := newAsk(random, len(before)+1, client)
			if len(before) > 0 && random.IntN(5) < 2 {
				a.after(random, before[len(before)-1-random.IntN(min(len(before), 8))])
			}
			if len(caller) > 0 && stubborn {
				*a = *caller[0]
				a.pause = time.Duration(random.IntN(150)) * time.Millisecond
				a.timeout = time.Duration(100+random.IntN(900)) * time.Millisecond
			}
			a.once, a.noRetry = a.once || once, a.noRetry || noRetry
			before, caller = append(before, a), append(caller, a)
		}
		p.callers = append(p.callers, caller)
	}
	for i := range 1 + random.IntN(2) {
		a := newAsk(random, len(before)+1+i, random.IntN(clients))
		a.patient, a.wait, a.timeout, a.cancel = true, true, 40*time.Second, 0
		a.once, a.failFast, a.noRetry, a.payment.Memo = false, false, false, secretOfCaller
		a.pause = time.Duration(random.IntN(1000)) * time.Millisecond
		p.callers = append(p.callers, []*ask{a})
	}
	if p.memory != none && random.IntN(20) == 0 {
		p.flood(random)
		return p.numbered()
	}
	if random.IntN(20) == 0 {
		p.comeBack(random.IntN(2) == 0)
		return p.numbered()
	}
	few := random.IntN(6) + 2
	var kinds []int // a world has few kinds of faults, so that they meet
	for range few {
		kinds = append(kinds, random.IntN(len(faults)))
	}
	for range 12 {
		f := fault{
			at: time.Duration(random.IntN(120)) * time.Millisecond, kind: kinds[random.IntN(few)], n: 1 + random.IntN(3),
			who: random.IntN(12), d: time.Duration(1+random.IntN(400)) * time.Millisecond,
		}
		if !faults[f.kind].harms(p.memory) {
			p.faults = append(p.faults, f)
		}
	}
	return p.numbered()
}

// numbered numbers the asks.
func (p *plan) numbered() *plan {
	n := 0
	for _, caller := range p.callers {
		for _, a := range caller {
			n++
			a.seq = n
		}
	}
	return p
}

// askHeader tells which ask a request was sent for.
const askHeader = "ask"

// flood makes it a world in which servers say no to many calls at the same time.
func (p *plan) flood(random *rand.Rand) {
	p.inFlight = 40
	client := random.IntN(clients)
	for i := range 40 {
		a := newAsk(random, 500+i, client)
		a.payment.Memo, a.timeout, a.cancel, a.noRetry, a.once, a.durable = secretOfCaller, 3*time.Second, 0, false, false, false
		p.callers = append(p.callers, []*ask{a})
	}
	p.faults = []fault{{kind: storeFails, d: 400 * time.Millisecond}, {at: 3 * time.Second, kind: storeFails}}
}

// comeBack makes it a world in which servers get requests again: those that they have refused, and then do not; or those to be
// executed at most once, from servers that may have done so, while the memory of all others fails.
func (p *plan) comeBack(executed bool) {
	for _, c := range p.callers {
		for _, a := range c {
			a.durable, a.once, a.noRetry = true, executed && !a.patient, !a.patient
		}
	}
	if executed {
		p.memory, p.servers = max(p.memory, lru), max(p.servers, 2)
		for n := range 12 {
			p.faults = append(p.faults, fault{at: 40 * time.Millisecond, kind: kindOf("store fails, and server loses its session"), who: n, d: 30 * time.Millisecond})
		}
		return
	}
	p.refuses, p.lenient = 50, true
	for range 3 {
		p.faults = append(p.faults, fault{at: 10 * time.Millisecond, kind: acksLost, d: 200 * time.Millisecond})
	}
}

func newAsk(random *rand.Rand, n, client int) *ask {
	a := &ask{
		n: n, client: client, id: fmt.Sprint("call ", n), pause: time.Duration(random.IntN(150)) * time.Millisecond,
		read: random.IntN(6) == 0, timeout: time.Duration(100+random.IntN(900)) * time.Millisecond,
		payment: payment{N: n, From: random.IntN(accounts), Amount: 1 + random.IntN(80), Memo: secretOfCaller},
	}
	a.payment.To = (a.payment.From + 1 + random.IntN(accounts-1)) % accounts
	switch random.IntN(10) {
	case 0:
		a.timeout = time.Duration(5+random.IntN(60)) * time.Millisecond
	case 1:
		a.timeout *= 4
	}
	switch random.IntN(8) {
	case 0:
		a.once = true
	case 1:
		a.once, a.durable = true, true
	case 2, 3:
		a.durable = true
	case 4:
		a.failFast = true
	case 5:
		a.wait = true
	}
	a.noRetry = random.IntN(3) == 0
	if random.IntN(8) == 0 {
		a.cancel = time.Duration(1+random.IntN(200)) * time.Millisecond
	}
	switch random.IntN(40) {
	case 0:
		a.payment.Memo += strings.Repeat("x", clientBody)
	case 1:
		a.payment.Memo += strings.Repeat("x", serverBody)
	}
	return a
}

// after takes the ID of another ask: to ask again, for something else, or by chance, as another tenant.
func (a *ask) after(random *rand.Rand, other *ask) {
	a.id = other.id
	if random.IntN(4) > 0 {
		a.client = other.client
		if other.client < 2 {
			a.client = random.IntN(2)
		}
	}
	if tenants[a.client] == tenants[other.client] && random.IntN(4) > 0 {
		a.n, a.payment, a.read = other.n, other.payment, other.read
	}
}

func (a *ask) who() who {
	return who{tenants[a.client].user, tenants[a.client].name, a.method().Name, a.id}
}

func (a *ask) method() rpc.Method[payment, receipt] {
	if a.read {
		return read
	}
	return transfer
}

func (a *ask) String() string {
	var options []string
	for _, o := range []struct {
		set  bool
		name string
	}{
		{a.once, "once"}, {a.durable, "durable"}, {a.failFast, "fail fast"}, {a.wait, "wait"}, {a.noRetry, "no retry"}, {a.patient, "patient"},
	} {
		if o.set {
			options = append(options, o.name)
		}
	}
	if a.cancel > 0 {
		options = append(options, fmt.Sprint("cancel after ", a.cancel))
	}
	what := fmt.Sprintf("%d from %d to %d", a.payment.Amount, a.payment.From, a.payment.To)
	if a.read {
		what = "read"
	}
	return fmt.Sprintf("client %d, %s, payload %d: %s, within %v %v", a.client, a.id, a.n, what, a.timeout, options)
}

func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "memory %v, %d servers with %d workers, slow store %v, %d %% refused\n", p.memory, p.servers, p.workers, p.slowStore, p.refuses)
	for i, caller := range p.callers {
		fmt.Fprintf(&b, "caller %d\n", i)
		for _, a := range caller {
			fmt.Fprintf(&b, "  after %v: %v\n", a.pause, a)
		}
	}
	for _, f := range p.faults {
		fmt.Fprintf(&b, "after %v: %v\n", f.at, f)
	}
	return b.String()
}
