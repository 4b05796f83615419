// Package conn keeps a live session with a RabbitMQ broker.
//
// [Open] starts a [Manager]. It dials, with backoff, for as long as it is not closed, and hands out the live [Session].
// A session is never repaired: when anything in it fails it dies whole, its sockets are closed, and the manager starts
// the next one clean. What belonged to the old one (deliveries, confirmations, consumers) ends with it.
//
//	m, err := conn.Open(ctx, "amqp://guest:guest@localhost:5672/", conn.WithName("billing"))
//	defer m.Close(ctx)
//	s, err := m.Session(ctx)
//
// # Guarantees
//
// No method waits longer than its timeout, whatever the network does: every write to a socket and every synchronous
// AMQP method has a deadline, and a session that misses one is killed by closing its sockets. A dead or half-open
// connection is noticed within 1.5 heartbeats. Passwords appear in no error, state or log line.
//
// # Concurrency
//
// Everything here is safe for concurrent use. Callbacks (returns, confirmations, deliveries) run on goroutines of the
// session.
//
// Messages and methods are those of AMQP 0-9-1 with RabbitMQ's extensions: https://www.rabbitmq.com/amqp-0-9-1-reference.html
package conn
