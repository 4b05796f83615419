// Package postgres is an [idempotency.Store] in PostgreSQL, 13 or later, shared by all servers of a service.
//
//	store, err := postgres.Open(ctx, "postgres://bank:password@localhost:5432/bank", postgres.WithTransactions())
//	defer store.Close()
//
//	server.Handle(s, Pay, func(ctx context.Context, p Payment) (Receipt, error) {
//		_, err := postgres.Tx(ctx).Exec(ctx, "UPDATE accounts SET balance = balance - $1 WHERE id = $2", p.Amount, p.From)
//		...
//
// # Guarantees
//
// In claim mode, the default, a call is claimed in a transaction of its own before it runs, and its outcome is
// stored in another after. That is at least once. Duplicates are suppressed across all servers for as long as
// the holder of the claim lives, and a lease longer. When a holder has given no sign of life for a lease, its
// call is taken over and runs again. A holder that was only frozen, and wakes, may then cause the effect a
// second time: fencing stops its answer, not its effect. The same holds for one that was cut off from PostgreSQL
// for longer than a lease.
//
// With [WithTransactions] the claim, what the handler writes through [Tx], and the outcome are one transaction.
// They are committed together or not at all: exactly-once effects for what the handler writes through the
// transaction, for requests whose attempts end before the retention, and nothing more. Effects elsewhere are at
// least once, since a call whose transaction was rolled back runs again. A handler that fails has what it wrote
// rolled back, and its error stored. A handler that runs past its deadline may still commit.
//
// A holder that is killed loses its transaction at once. One that is frozen, or cut off, loses it after a time
// without a statement: what its call had left when it began, plus a second, or the time of [WithLease]. Until
// then its call is in flight. If the connection is lost during a commit, the outcome is read back before the
// call is answered.
//
// Both modes rest on what PostgreSQL has committed being there later: not so after a failover to a replica that
// lags, nor with fsync off. A call is forgotten after the retention. Only the clock of PostgreSQL counts.
// Servers that share a schema may differ in mode, but should all be serializable or none.
//
// # Transactions
//
// Each call that runs has a connection: see [WithConnections]. When all are in use the next call waits, and at
// its deadline fails with resource_exhausted, ExecutedNo. Timeouts of PostgreSQL that are configured are
// replaced, for the transaction, by the time that the call has left.
//
// A call whose transaction loses against another, by a serialization failure or a deadlock, is undone and runs
// again, up to 10 times, as [idempotency.Interceptor] says. The same happens, and not even an error is stored,
// if
//
//   - the connection was lost before the commit, as when the context ended during a statement,
//   - the handler failed after its context had ended,
//   - a deferred constraint failed at the commit, or
//   - the handler has replied in spite of a statement that failed, or has left rows open: its mistake.
//
// A handler that ends the transaction in SQL gets no answer for its call. If it has committed, the call does not
// run again.
//
// # Connections
//
// The store needs sessions of its own: connect it to PostgreSQL itself, or to a pooler in session mode.
//
// # Rights
//
// The first server makes the schema, or brings it up to date, and may do so while others run. For that its role
// needs CREATE on the database. A role that does not make it needs only
//
//	GRANT USAGE ON SCHEMA rabbitrpc TO bank;
//
// since it uses the functions of the schema, which run with the rights of the role that made it. That role also
// owns the partitions that are made and dropped later on, whoever causes it.
//
// # Concurrency
//
// A [Store] may be used by several goroutines, the transaction of a call only by that of its handler.
package postgres
