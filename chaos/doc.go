// Package chaos breaks things on purpose: it is what the chaos tests, the demo and your own tests of failures are made of.
//
// A [Node] is a private RabbitMQ broker that can be stopped, killed, paused and started again. It needs RabbitMQ and a
// Unix system, no right of the root user, and nothing of the machine's own broker, if there is one.
//
// # Concurrency
//
// All methods are safe for concurrent use.
package chaos
