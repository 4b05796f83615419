// Package conntest is a RabbitMQ in memory, for tests that need no network: of this library, and of what is built on it.
//
// A [Broker] stands for the broker, a [Connector] for one process that talks to it. What they do is what RabbitMQ does:
// exchanges, bindings, returns, confirmations, prefetch, redelivery, expiration, dead letters, exclusive queues. The
// suite in conntest/conformance runs against both.
//
//	b := conntest.NewBroker()
//	defer b.Close()
//	server, client := b.Connector("server"), b.Connector("client")
//
// Faults are armed by name and strike once, at a place that is counted and not timed:
//
//	struck := client.Fail(conntest.LoseAfterPublish(3))
//
// A process is frozen, as by SIGSTOP, with [Connector.Freeze].
//
// # Time
//
// It uses the clock of package time, and channels, nothing else: inside testing/synctest time is virtual, and
// synctest.Wait returns when all messages on their way have been handled. Its goroutines end with their session.
//
// # What it leaves out
//
// Direct reply-to, BCC, priorities, binding arguments, permissions, and limits on bytes. Of the x- arguments of a queue it
// obeys x-dead-letter-exchange, x-dead-letter-routing-key, x-message-ttl, x-max-length, x-overflow, and x-queue-type with
// x-delivery-limit; it takes and compares the others, without effect. An alarm ([Broker.Block]) is known to all sessions at
// once.
//
// # Concurrency
//
// Everything here is safe for concurrent use. Callbacks run as [conn.Session] says, and may call anything here but
// [Broker.Close] and the Close of their own session.
package conntest
