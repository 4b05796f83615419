package mutant

// unsimulated are the guards whose loss only real servers show, by the tests that name them.
var unsimulated = []Mutant{
	{
		Name: "amqp-ack-before-reply", Guard: "a request is acknowledged after its reply, with RabbitMQ", Breaks: "I21", Real: true,
		Edits: []Edit{
			{"server/reply.go", `	"errors"
`, `	"errors"
	"time"
`},
			{"server/reply.go", `	if m, err := s.send(j, m, j.unconfirmed.publish)`, `	s.ack(j)
	time.Sleep(50 * time.Millisecond)
	if m, err := s.send(j, m, j.unconfirmed.publish)`},
		},
	},
	{
		Name: "amqp-register-before-publish", Guard: "a call is registered before its request is published, with RabbitMQ",
		Breaks: "I21", Real: true,
		Edits: []Edit{
			{"client/call.go", `	if err := l.publisher.Publish(wire.EncodeRequest(&call.req, a), confirmed); err != nil {
`, `	c.pending.mu.Lock()
	delete(c.pending.calls, call.req.ID)
	c.pending.mu.Unlock()
	err := l.publisher.Publish(wire.EncodeRequest(&call.req, a), confirmed)
	time.Sleep(3 * time.Millisecond)
	c.pending.mu.Lock()
	c.pending.calls[call.req.ID] = call
	c.pending.mu.Unlock()
	if err != nil {
`},
		},
	},
	{
		Name: "postgres-fencing", Guard: "only the holder of the claim records an outcome, in PostgreSQL", Breaks: "I7", Real: true,
		Edits: []Edit{
			{"idempotency/postgres/schema.sql", `	UPDATE {schema}.records SET head = p_head, body = p_body, lease = NULL WHERE key = p_key AND fence = p_fence AND head IS NULL;
	RETURN FOUND OR EXISTS (SELECT FROM {schema}.records WHERE key = p_key AND fence = p_fence AND head IS NOT NULL);
`, `	UPDATE {schema}.records SET head = p_head, body = p_body, lease = NULL WHERE key = p_key;
	RETURN FOUND;
`},
		},
	},
	{
		Name: "postgres-claim", Guard: "a call has one claim at a time, in PostgreSQL", Breaks: "I5", Real: true,
		Edits: []Edit{
			{"idempotency/postgres/schema.sql", `		same := pg_try_advisory_xact_lock(p_locks[1]);
		IF same THEN
			alone := pg_try_advisory_xact_lock(p_locks[2]);
		END IF;
`, `		same := true;
		alone := true;
`},
			{"idempotency/postgres/schema.sql", `CREATE UNIQUE INDEX ON {schema}.%I (key)`, `CREATE INDEX ON {schema}.%I (key)`},
		},
	},
	{
		Name: "postgres-deadline", Guard: "the deadline is checked again after the claim, in PostgreSQL", Breaks: "I5", Real: true,
		Edits: []Edit{
			{"idempotency/postgres/store.go", `	if err := expired(ctx); err != nil {
		ctx, cancel`, `	if err := error(nil); err != nil {
		ctx, cancel`},
		},
	},
	{
		Name: "amqp-session-bound-acks", Guard: "an acknowledgement belongs to its session, with RabbitMQ", Breaks: "I19 I21", Real: true,
		Edits: []Edit{
			{"server/reply.go", `	"errors"
`, `	"errors"
	"time"
`},
			{"server/reply.go", `err != nil && resendable(j.session, m) {
		s.sendLater(j, m)
`, `err != nil && j.session.Err() != nil {
		j.deadline = time.Now().Add(10 * time.Second)
		s.sendLater(j, m)
		s.ack(j)
`},
			{"conn/amqp_consume.go", `const consumerTag = "rabbitrpc" // tags are per channel
`, `const consumerTag = "rabbitrpc" // tags are per channel

var latest atomic.Pointer[consumer] // of all sessions, that has acknowledgements
`},
			{"conn/amqp_consume.go", `	k.s.start(func() { k.run(c, deliveries, closed, handle) })
`, `	if !c.NoAck {
		latest.Store(k)
	}
	k.s.start(func() { k.run(c, deliveries, closed, handle) })
`},
			{"conn/amqp_consume.go", `	if k.s.Err() != nil {
		return k.s.closedErr("settle")
	}
	if ack {`, `	k = latest.Load()
	if k.s.Err() != nil {
		return k.s.closedErr("settle")
	}
	if ack {`},
		},
	},
}
