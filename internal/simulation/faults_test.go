package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// faultKind is something bad that is done to somebody.
type faultKind struct {
	name   string
	server func(w *world, p *process, f fault) // who it is done to, one of these
	client func(w *world, c *caller, f fault)
	broker func(w *world, f fault)
	kinds  string // of harm that it does beyond what the protocol is about
}

const (
	twice = "t" // the broker delivers a request twice, as RabbitMQ does not: without a memory it runs twice, and each has its answer
	loses = "l" // requests vanish, and nobody is told: their callers wait until the deadline
)

// harms reports whether the fault makes no sense with a memory.
func (k faultKind) harms(m memory) bool { return k.kinds == twice && m == none }

const storeFails, acksLost = 0, 1 // in the table

var faults = []faultKind{
	{name: "store fails for all, for long", broker: func(w *world, f fault) {
		w.each(func(p *process) { p.fail(true) })
		w.later.Go(func() { time.Sleep(f.d * 10); w.each(func(p *process) { p.fail(false) }) })
	}},
	{name: "all servers lose acknowledgements, again and again", broker: func(w *world, f fault) {
		for range 20 {
			w.each(func(p *process) { p.conn.Fail(conntest.LoseAck(1)) })
			time.Sleep(f.d / 10)
		}
	}},
	{name: "client loses its session", client: func(_ *world, c *caller, _ fault) { c.connector().Lose() }},
	clientMeets("lose before publish", func(f fault) conntest.Fault { return conntest.LoseBeforePublish(f.n) }),
	clientMeets("lose after publish", func(f fault) conntest.Fault { return conntest.LoseAfterPublish(f.n) }),
	clientMeets("fail publish", func(f fault) conntest.Fault { return conntest.FailPublish(f.n) }),
	clientMeets("slow publish", func(f fault) conntest.Fault { return conntest.SlowPublish(f.n, f.d/8) }),
	clientMeets("late publish", func(f fault) conntest.Fault { return conntest.LatePublish(f.n, f.d) }),
	clientMeets("drop confirm", func(f fault) conntest.Fault { return conntest.DropConfirm(f.n) }),
	clientMeets("late confirm", func(f fault) conntest.Fault { return conntest.LateConfirm(f.n, f.d) }),
	clientMeets("late reply", func(f fault) conntest.Fault { return conntest.LateDelivery(f.n, f.d) }),
	clientMeets("duplicate reply", func(f fault) conntest.Fault { return conntest.DuplicateDelivery(f.n) }),
	{name: "client: late duplicates of replies", client: func(_ *world, c *caller, f fault) {
		for n := range 4 {
			c.connector().Fail(conntest.LateDuplicate(n+1, f.d/4*time.Duration(n+1)))
		}
	}},
	{name: "client refuses publish", kinds: loses, client: func(_ *world, c *caller, f fault) { c.connector().Fail(conntest.RefusePublish(f.n)) }},
	{name: "client restarts", client: func(w *world, c *caller, _ fault) { c.restart() }},

	{name: "server loses its session", server: func(_ *world, p *process, _ fault) { p.conn.Lose() }},
	{name: "all servers lose their sessions, again and again", broker: func(w *world, f fault) {
		for range 4 {
			w.each(func(p *process) { p.conn.Lose() })
			time.Sleep(f.d / 10)
		}
	}},
	serverMeets("lose before publish", "", func(f fault) conntest.Fault { return conntest.LoseBeforePublish(f.n) }),
	serverMeets("lose after publish", "", func(f fault) conntest.Fault { return conntest.LoseAfterPublish(f.n) }),
	serverMeets("fail publish", "", func(f fault) conntest.Fault { return conntest.FailPublish(f.n) }),
	serverMeets("refuse publish", loses, func(f fault) conntest.Fault { return conntest.RefusePublish(f.n) }),
	serverMeets("slow publish", "", func(f fault) conntest.Fault { return conntest.SlowPublish(f.n, f.d) }),
	serverMeets("late publish", "", func(f fault) conntest.Fault { return conntest.LatePublish(f.n, f.d) }),
	serverMeets("drop confirm", "", func(f fault) conntest.Fault { return conntest.DropConfirm(f.n) }),
	serverMeets("late confirm", "", func(f fault) conntest.Fault { return conntest.LateConfirm(f.n, f.d) }),
	serverMeets("lose ack", "", func(f fault) conntest.Fault { return conntest.LoseAck(f.n) }),
	serverMeets("late delivery", "", func(f fault) conntest.Fault { return conntest.LateDelivery(f.n, f.d) }),
	serverMeets("duplicate delivery", twice, func(f fault) conntest.Fault { return conntest.DuplicateDelivery(f.n) }),
	serverMeets("late duplicate delivery", twice, func(f fault) conntest.Fault { return conntest.LateDuplicate(f.n, f.d) }),

	{name: "requests come twice, and all their replies at once, and twice as well", kinds: twice, client: func(w *world, c *caller, f fault) {
		w.each(func(p *process) {
			for n := range 3 {
				p.conn.Fail(conntest.DuplicateDelivery(n + 1))
			}
		})
		c.connector().Fail(conntest.LateDelivery(1, f.d/2))
		for n := range 4 {
			c.connector().Fail(conntest.DuplicateDelivery(n + 1))
		}
	}},

	{name: "server crashes", server: func(w *world, p *process, f fault) { w.crash(p, f) }},
	serverCrashes("begin"), serverCrashes("begun"), serverCrashes("handler"), serverCrashes("effect"), serverCrashes("complete"),
	serverCrashes("completed"), serverCrashes("effect"), serverCrashes("complete"),
	serverDies("with its reply", func(f fault) conntest.Fault { return conntest.LoseBeforePublish(f.n) }),
	serverDies("after its reply", func(f fault) conntest.Fault { return conntest.LoseAfterPublish(f.n) }),
	serverDies("with its acknowledgement", func(f fault) conntest.Fault { return conntest.LoseAck(f.n) }),
	{name: "server crashes with its reply on the way", server: func(w *world, p *process, f fault) {
		struck := p.conn.Fail(conntest.LatePublish(f.n, f.d))
		w.when(struck, func() { time.Sleep(f.d / 2); w.crash(p, f) })
	}},

	{name: "server freezes", server: func(_ *world, p *process, f fault) { p.freeze(f.d) }},
	{name: "server freezes for long", server: func(_ *world, p *process, f fault) { p.freeze(f.d * 20) }},
	serverFreezes("begin"), serverFreezes("begun"), serverFreezes("handler"), serverFreezes("effect"), serverFreezes("complete"),
	{name: "server freezes until all is forgotten", server: func(w *world, p *process, f fault) {
		p.arm("begin", f.n, func() { w.freezeForEver(p) })
	}},
	{name: "client loses its session, and a server freezes until all is forgotten", server: func(w *world, p *process, f fault) {
		p.arm("begin", f.n, func() { w.freezeForEver(p) })
		for _, c := range w.callers {
			c.connector().Fail(conntest.LoseAfterPublish(f.n))
		}
	}},

	{name: "server is drained, and a new one started", server: func(w *world, p *process, f fault) { w.drain(p, f) }},
	{name: "server loses its sessions, and is drained", server: func(w *world, p *process, f fault) {
		for range 2 {
			p.conn.Lose()
			time.Sleep(f.d / 20)
		}
		w.drain(p, f)
	}},
	{name: "server pauses", server: func(w *world, p *process, f fault) { w.pause(p, f) }},
	{name: "store fails", server: func(w *world, p *process, f fault) {
		p.fail(true)
		w.later.Go(func() { time.Sleep(f.d); p.fail(false) })
	}},
	{name: "store fails, and server loses its session", server: func(w *world, p *process, f fault) {
		w.each(func(q *process) { q.fail(q != p) })
		p.conn.Lose()
		w.later.Go(func() { time.Sleep(f.d); w.each(func(q *process) { q.fail(false) }) })
	}},

	{name: "broker restarts", broker: func(w *world, f fault) { w.broker.Stop(); time.Sleep(f.d); w.broker.Start() }},
	{name: "broker blocks", broker: func(w *world, f fault) { w.broker.Block(); time.Sleep(f.d); w.broker.Unblock() }},
	{name: "queue is deleted", kinds: loses, broker: func(w *world, _ fault) { w.deleteQueue(wire.Queue("bank")) }},
}

// kindOf returns where a fault is in the table.
func kindOf(name string) int {
	return slices.IndexFunc(faults, func(k faultKind) bool { return k.name == name })
}

func clientMeets(name string, meets func(fault) conntest.Fault) faultKind {
	return faultKind{name: "client: " + name, client: func(_ *world, c *caller, f fault) { c.connector().Fail(meets(f)) }}
}

func serverMeets(name, harm string, meets func(fault) conntest.Fault) faultKind {
	return faultKind{name: "server: " + name, kinds: harm, server: func(_ *world, p *process, f fault) { p.conn.Fail(meets(f)) }}
}

func serverCrashes(point string) faultKind {
	return faultKind{name: "server crashes at " + point, server: func(w *world, p *process, f fault) {
		p.arm(point, f.n, func() { w.crash(p, f) })
	}}
}

func serverDies(how string, meets func(fault) conntest.Fault) faultKind {
	return faultKind{name: "server dies " + how, server: func(w *world, p *process, f fault) {
		w.when(p.conn.Fail(meets(f)), func() { w.crash(p, f) })
	}}
}

func serverFreezes(point string) faultKind {
	return faultKind{name: "server freezes at " + point, server: func(_ *world, p *process, f fault) {
		p.arm(point, f.n, func() { p.freeze(f.d * 20) })
	}}
}

func (f fault) String() string {
	return fmt.Sprintf("%s (who %d, n %d, %v)", faults[f.kind].name, f.who, f.n, f.d)
}

// strike does what the plan says.
func (w *world) strike(f fault) {
	k := faults[f.kind]
	w.note("%v", f)
	switch k.kinds {
	case loses:
		w.lossy.Store(true)
	case twice:
		w.doubled = true
	}
	switch {
	case k.server != nil:
		k.server(w, w.server(f.who), f)
	case k.client != nil:
		k.client(w, w.callers[f.who%clients], f)
	default:
		k.broker(w, f)
	}
}
