// Package chaos breaks things on purpose: it is what the chaos tests, the demo and your own tests of failures are made of.
//
// A [Node] is a private RabbitMQ broker that can be stopped, killed, paused and started again; it can be put into maintenance
// and alarm, and its queues, users and virtual hosts taken away. It needs RabbitMQ and a Unix system, no right of the root
// user, and nothing of the machine's own broker, if there is one. A [Postgres] is the same for PostgreSQL, and a [Process]
// for a command of yours.
//
// A [Cluster] is several nodes, which can be cut off from each other as well. It and a node with [InNamespace] live in a
// network namespace, where a [Filter] drops packets and tells nobody. That needs Linux and the root user.
//
// A [Proxy] stands between clients, of whatever library, and a broker, of whatever make. It needs nothing. Give its URL to
// the service under test, and then let things go wrong:
//
//	p, err := chaos.NewProxy("amqp://guest:guest@localhost:5672")
//	defer p.Close()
//	... // a service that uses p.URL()
//	lost := p.Inject(chaos.Drop{Method: "basic.ack", Dir: chaos.ToClient, Nth: 3})
//	...
//	lost.Heal()
//	if lost.Bites() == 0 { ... } // the fault had no effect: the test has shown nothing
//
// What can go wrong is a [Fault]:
//
//   - the line is bad: [Latency], [Bandwidth], [Stall], [HalfOpen];
//   - it is lost: [Reset], [HangUp], [Cut];
//   - nobody, or somebody else, is at the other end: [Refuse], [Impostor];
//   - a method of AMQP is lost, late, or comes twice: [Drop], [Delay], [Duplicate], and [Cut] in the middle of it.
//
// # Concurrency
//
// All methods are safe for concurrent use.
package chaos
