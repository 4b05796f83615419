package scenario

import (
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
)

const (
	ms     = time.Millisecond
	second = time.Second
)

var (
	reconnects = []string{"reconnects"}
	resends    = []string{"resends"}
)

var network = []Scenario{
	{Name: "reset", Group: "network", About: "Connections are reset, of callers and of servers, again and again. Calls are sent again, and none fails",
		Steps: []Step{
			line(0, "callers", 0, chaos.Reset{}), line(700*ms, "servers", 0, chaos.Reset{}), line(1400*ms, "callers", 0, chaos.Reset{}),
			line(2100*ms, "server-1", 0, chaos.Reset{}), line(2800*ms, "callers", 0, chaos.HangUp{}),
		}, MustBite: reconnects},
	{Name: "cut-in-frame", Group: "network", About: "Connections end in the middle of frames: of a request, a delivery, a reply, an acknowledgement, a confirm",
		Steps: []Step{
			line(0, "callers", second, chaos.Cut{Method: "basic.publish", Nth: 5, Bytes: 11}),
			line(second, "callers", second, chaos.Cut{Method: "basic.deliver", Nth: 5, Bytes: 100}),
			line(2*second, "servers", second, chaos.Cut{Method: "basic.publish", Nth: 3, Bytes: 40}),
			line(3*second, "servers", second, chaos.Cut{Method: "basic.ack", Nth: 3, Bytes: 5}),
			line(4*second, "servers", second, chaos.Cut{Method: "basic.deliver", Nth: 3, Bytes: chaos.Whole}),
		}, MustBite: reconnects},
	{Name: "half-open", Group: "network", About: "The callers' connections swallow all, both ways. It is noticed within 1.5 heartbeats, and calls are sent again",
		Steps: []Step{line(0, "callers", 4*second, chaos.HalfOpen{})}, MustBite: reconnects},
	{Name: "half-open-to-broker", Group: "network", About: "What callers send is swallowed, and what they get is not: it is the broker that notices, after two to three heartbeats",
		Steps: []Step{line(0, "callers", 5*second, chaos.HalfOpen{Dir: chaos.ToBroker})}, MustBite: reconnects},
	{Name: "half-open-to-client", Group: "network", About: "What callers are sent is swallowed: requests are executed, and replies are lost with their connection",
		Steps: []Step{line(0, "callers", 4*second, chaos.HalfOpen{Dir: chaos.ToClient})}, MustBite: []string{"reconnects", "replays"}},
	{Name: "servers-half-open", Group: "network", About: "A server's connections swallow all: the broker gives its requests to another after two to three heartbeats",
		Steps: []Step{line(0, "server-1", 5*second, chaos.HalfOpen{})}, Recovery: 8 * second},
	{Name: "latency", Group: "network", About: "All takes 100 to 900 ms, each way. Calls are slow, and no connection is lost",
		Heartbeat: 3 * second, Steps: []Step{line(0, "callers", 6*second, chaos.Latency{Delay: 500 * ms, Jitter: 400 * ms})}, Steady: true},
	{Name: "bandwidth", Group: "network", About: "The callers' line carries 1 KB/s. Writes stall, heartbeats are late, connections may be lost; afterwards all is well",
		Steps: []Step{line(0, "callers", 5*second, chaos.Bandwidth{BytesPerSecond: 1000})}, Recovery: 8 * second},
	{Name: "stall", Group: "network", About: "The callers' line stands still for less than a heartbeat, and goes on: nothing is lost, nothing comes twice",
		Steps: []Step{line(0, "callers", 800*ms, chaos.Stall{}), line(2*second, "callers", 800*ms, chaos.Stall{Dir: chaos.ToBroker})}, Steady: true},
	{Name: "stall-long", Group: "network", About: "It stands still until the connection is given up, and then what it held arrives: requests are in the queue twice",
		Steps: []Step{line(0, "callers", 5*second, chaos.Stall{})}, MustBite: reconnects, Recovery: 8 * second},
	{Name: "silent-peer", Group: "network", About: "Connections are lost, and what takes the new ones never says a word: dials end by their timeout, and the next works",
		Steps: []Step{line(0, "callers", 3*second, chaos.Impostor{}), line(100*ms, "callers", 0, chaos.Reset{})}, MustBite: reconnects, Recovery: 10 * second},
	{Name: "http-peer", Group: "network", About: "Connections are lost, and a web server takes the new ones",
		Steps: []Step{line(0, "callers", 3*second, chaos.Impostor{Says: chaos.HTTP, Closes: true}), line(100*ms, "callers", 0, chaos.Reset{})}, MustBite: reconnects},
	{Name: "refused", Group: "network", About: "Connections are lost, and new ones refused, for callers and servers",
		Steps: []Step{
			line(0, "callers", 3*second, chaos.Refuse{}), line(100*ms, "callers", 0, chaos.Reset{}),
			line(second, "servers", 3*second, chaos.Refuse{}), line(1100*ms, "servers", 0, chaos.Reset{}),
		}, MustBite: reconnects},
	{Name: "duplicates", Group: "network", About: "Requests are in the queue twice, then replies come twice",
		Steps: []Step{
			line(0, "callers", 2*second, chaos.Duplicate{Method: "basic.publish"}),
			line(2*second, "callers", 2*second, chaos.Duplicate{Method: "basic.deliver"}),
		}, MustBite: []string{"replays"}},
	{Name: "lost-methods", Group: "network", About: "The confirm of a reply, an acknowledgement and a delivery get lost: what is missing is made up for when the session ends",
		Steps: []Step{
			line(0, "server-1", second, chaos.Drop{Method: "basic.ack", Dir: chaos.ToClient, Nth: 2}),
			line(second, "server-2", second, chaos.Drop{Method: "basic.ack", Dir: chaos.ToBroker, Nth: 2}),
			line(2*second, "server-3", second, chaos.Drop{Method: "basic.deliver", Nth: 2}),
			line(4*second, "servers", 0, chaos.Reset{}),
		}, Recovery: 15 * second},
}

var packetLoss = []Scenario{
	{Name: "packet-loss", Group: "network", About: "30 % of the packets between the broker and everybody are lost. TCP sends them again: calls are slow, connections may be lost",
		Packets: true, Steps: []Step{at(0, "broker", "packet-loss", 5*second)}, Recovery: 10 * second},
	{Name: "syn-dropped", Group: "network", About: "Connections are lost, and the first packet of each new one is dropped: dials hear nothing until their timeout",
		Packets: true, Steps: []Step{at(0, "broker", "drop-syn", 6*second), line(500*ms, "callers", 0, chaos.Reset{}), line(500*ms, "server-1", 0, chaos.Reset{})},
		MustBite: reconnects, Recovery: 12 * second},
}

var brokers = []Scenario{
	{Name: "broker-killed", Group: "broker", About: "The broker is killed and started again. Calls wait, and are sent again; what was executed is answered from memory",
		Steps: []Step{at(0, "broker", "kill", 500*ms)}, MustBite: reconnects},
	{Name: "broker-stopped", Group: "broker", About: "The broker is shut down in good order, and started again",
		Steps: []Step{at(0, "broker", "stop", 500*ms)}, MustBite: reconnects},
	{Name: "broker-app-restarted", Group: "broker", About: "The RabbitMQ application is stopped and started; its Erlang node runs on",
		Steps: []Step{at(0, "broker", "restart-app", second)}, MustBite: reconnects},
	{Name: "broker-frozen", Group: "broker", About: "The broker is frozen beyond the heartbeats, and wakes up",
		Steps: []Step{at(0, "broker", "freeze", 5*second)}, MustBite: reconnects, Recovery: 8 * second},
	{Name: "broker-drained", Group: "broker", About: "The broker is put into maintenance, which closes all connections and takes no new ones, and revived",
		Steps: []Step{at(0, "broker", "drain", 2*second)}, MustBite: reconnects},
	{Name: "connections-closed", Group: "broker", About: "An operator closes all connections",
		Steps: []Step{at(0, "broker", "close-connections", 0), at(2*second, "broker", "close-connections", 0)}, MustBite: reconnects},
	{Name: "memory-alarm", Group: "broker", About: "Publishers are blocked by a memory alarm, of the callers and of the servers. Calls wait for its end",
		Steps: []Step{at(0, "broker", "memory-alarm", 3*second)}, Recovery: 8 * second},
	{Name: "disk-alarm", Group: "broker", About: "The same by a disk alarm",
		Steps: []Step{at(0, "broker", "disk-alarm", 3*second)}, Recovery: 8 * second},
	{Name: "confirms-lost", Group: "broker", About: "The broker's confirms do not reach the callers for a while: durable calls end with their replies",
		Steps: []Step{line(0, "callers", 3*second, chaos.Drop{Method: "basic.ack", Dir: chaos.ToClient})}},
	{Name: "queue-deleted", Group: "broker", About: "The service's queue is deleted with all that waits in it. Its servers declare it again",
		Steps: []Step{at(0, "service", "delete-queue", 0), at(2*second, "service", "delete-queue", 0)}},
	{Name: "queue-purged", Group: "broker", About: "More calls than there are workers, and all that waits in the service's queue is thrown away: it is sent again after seven seconds of silence",
		Work: 500 * ms, Guests: 64, Timeout: 12 * second, Steps: []Step{at(second, "service", "purge-queue", 0)}},
	{Name: "exchange-deleted", Group: "broker", About: "The exchange is deleted with its bindings. Servers declare it again within 5 s",
		Steps: []Step{at(0, "service", "delete-exchange", 0)}, Recovery: 8 * second},
	{Name: "vhost-deleted", Group: "broker", About: "The virtual host is deleted with all that is in it, and made again",
		Steps: []Step{at(0, "broker", "delete-vhost", second)}, MustBite: reconnects, Recovery: 12 * second},
	{Name: "consumer-timeout", Group: "broker", About: "An acknowledgement is overdue: the server's channel is closed, and it takes a new session",
		Steps: []Step{at(0, "broker", "consumer-timeout", 7*second), at(0, "store", "freeze", 6*second)}, Recovery: 10 * second,
		MustBite: []string{"delivery acknowledgement on channel"}},
}

var servers = []Scenario{
	{Name: "servers-killed", Group: "server", About: "Servers are killed in the middle of calls, again and again. The broker gives their calls to others",
		Steps: []Step{
			at(0, "server-1", "kill", 300*ms), at(second, "server-2", "kill", 300*ms), at(2*second, "server-3", "kill", 300*ms),
			at(3*second, "server-1", "kill", 300*ms), at(3500*ms, "server-2", "kill", 300*ms),
		}, MustBite: resends},
	{Name: "all-servers-killed", Group: "server", About: "All servers are killed at once. Callers that do not wait learn that nobody serves; the others are answered once they are back",
		Steps: []Step{
			at(0, "server-1", "kill", 2*second), at(0, "server-2", "kill", 2*second), at(0, "server-3", "kill", 2*second),
		}, MustBite: []string{"failures"}},
	{Name: "server-crashes", Group: "server", About: "Servers end at points of a call that chance picks: delivered, validated, claimed, entered, applied, stored, published, confirmed, acknowledged",
		Steps: []Step{
			at(0, "server-1", "crash", 0), at(0, "server-2", "crash", 0), at(2*second, "server-1", "crash", 0),
			at(4*second, "server-2", "crash", 0), at(4*second, "server-3", "crash", 0), at(6*second, "server-1", "crash", 0),
		}},
	{Name: "servers-frozen", Group: "server", About: "A server is frozen beyond the heartbeats and its lease, and wakes up: a zombie, whose answers and effects must not count",
		Steps: []Step{at(0, "server-1", "freeze", 8*second), at(second, "server-2", "freeze", 2*second)}, Recovery: 8 * second},
	{Name: "servers-frozen-lru", Group: "server", About: "The same with memories that servers do not share: effects may happen twice, and all else holds", Store: bank.StoreLRU,
		Steps: []Step{at(0, "server-1", "freeze", 8*second)}, Recovery: 8 * second},
	{Name: "servers-killed-lru", Group: "server", About: "Servers are killed whose memory goes with them: effects may happen twice, and all else holds", Store: bank.StoreLRU,
		Steps: []Step{at(0, "server-1", "kill", 300*ms), at(second, "server-2", "kill", 300*ms), at(2*second, "server-3", "kill", 300*ms)}},
	{Name: "servers-killed-bolt", Group: "server", About: "Servers are killed that have their memory in a file each", Store: bank.StoreBolt,
		Steps: []Step{at(0, "server-1", "kill", 300*ms), at(second, "server-2", "kill", 300*ms), at(2*second, "server-3", "kill", 300*ms)}},
	{Name: "quorum-servers-killed", Group: "server", About: "The same on a quorum queue, which counts how often a request was delivered", Quorum: true,
		Steps: []Step{at(0, "server-1", "kill", 300*ms), at(second, "server-2", "kill", 300*ms), at(2*second, "server-3", "kill", 300*ms)}},
}

var stores = []Scenario{
	{Name: "store-killed", Group: "store", About: "PostgreSQL is killed and started again. Calls are refused, unharmed, until it is back, and tried again",
		Steps: []Step{at(0, "store", "kill", 500*ms), at(3*second, "store", "kill", second)}},
	{Name: "store-frozen", Group: "store", About: "PostgreSQL is frozen, and wakes up",
		Steps: []Step{at(0, "store", "freeze", 4*second)}, Recovery: 8 * second},
	{Name: "store-slow", Group: "store", About: "Each answer of PostgreSQL takes 300 ms",
		Steps: []Step{at(0, "store", "slow", 5*second)}, Recovery: 8 * second},
	{Name: "store-failover", Group: "store", About: "All connections with PostgreSQL are reset, in the middle of transactions, and new ones work",
		Steps: []Step{at(0, "store", "cut", 0), at(second, "store", "cut", 0), at(2*second, "store", "cut", 0)}},
}

var operations = []Scenario{
	{Name: "drain", Group: "operations", About: "Servers get SIGTERM under load, one after the other, and are started again: no caller sees an error", MustBeOK: true,
		Steps: []Step{
			at(0, "server-1", "drain", 200*ms), at(2*second, "server-2", "drain", 200*ms), at(4*second, "server-3", "drain", 200*ms),
		}},
	{Name: "password-changed", Group: "operations", About: "The password is changed, and nobody was told; then it is as before. RabbitMQ takes three seconds to refuse one",
		Steps: []Step{at(0, "user", "password", 2*second)}, MustBite: reconnects, Recovery: 10 * second},
	{Name: "user-deleted", Group: "operations", About: "The user is deleted, which ends its connections, and made again",
		Steps: []Step{at(0, "user", "delete", 2*second)}, MustBite: reconnects, Recovery: 10 * second},
	{Name: "permissions-cleared", Group: "operations", About: "The rights are revoked under running connections, and granted again",
		Steps: []Step{at(0, "user", "permissions", 2*second)}, Recovery: 12 * second},
	{Name: "connection-limit", Group: "operations", About: "All connections are closed, and only one may be opened",
		Steps: []Step{at(0, "user", "connection-limit", 2*second)}, MustBite: reconnects, Recovery: 10 * second},
	{Name: "channel-limit", Group: "operations", About: "All connections are closed, and two channels may be opened",
		Steps: []Step{at(0, "user", "channel-limit", 2*second)}, MustBite: reconnects, Recovery: 10 * second},
}

var mixes = []Scenario{
	{Name: "bank", Group: "mix", About: "Servers are killed, frozen and drained, the broker too, connections cut and half-open, PostgreSQL killed: money is conserved, and no effect lost or doubled",
		Duration: 30 * second, MustBite: []string{"reconnects", "resends", "replays"}, Recovery: 15 * second, Amplification: 1.1},
	{Name: "bank-lru", Group: "mix", About: "The same with the default memory: effects may happen twice, and all else holds", Store: bank.StoreLRU,
		Duration: 15 * second, MustBite: []string{"resends"}, Recovery: 15 * second},
}

var clients = []Scenario{
	{Name: "callers-killed", Group: "client", About: "A process of callers is killed in the middle of its calls, and its next life asks again under the same IDs: each call has one effect, and one answer",
		Guests: 16, Steps: []Step{at(0, "guests", "kill", 300*ms), at(2*second, "guests", "kill", 300*ms), at(4*second, "guests", "kill", 300*ms)},
		MustBite: []string{"lost calls"}},
	{Name: "callers-frozen", Group: "client", About: "A process of callers is frozen beyond its heartbeats, and wakes up: its calls end, late by no more than it slept",
		Guests: 16, Steps: []Step{at(0, "guests", "freeze", 6*second)}, Recovery: 8 * second, Lateness: 7 * second},
}
