package mutant

import "slices"

// All is the table of guards. The old texts are those of the sources as they are: the test fails where one is not.
var All = slices.Concat(simulated, unsimulated)

// simulated are those whose loss a simulation shows.
var simulated = []Mutant{
	{
		Name: "register-before-publish", Guard: "a call is registered before its request is published", Breaks: "I9",
		Edits: []Edit{
			{"client/call.go", `	if err := l.publisher.Publish(wire.EncodeRequest(&call.req, a), confirmed); err != nil {
`, `	c.pending.mu.Lock()
	delete(c.pending.calls, call.req.ID)
	c.pending.mu.Unlock()
	err := l.publisher.Publish(wire.EncodeRequest(&call.req, a), confirmed)
	c.pending.mu.Lock()
	c.pending.calls[call.req.ID] = call
	c.pending.mu.Unlock()
	if err != nil {
`},
		},
	},
	{
		Name: "reply-attempt", Guard: "a refusal speaks for its attempt only", Breaks: "I4",
		Edits: []Edit{
			{"client/pending.go", "earlier && (attempt <= c.others || wire.Refuses(m))", "earlier && attempt <= c.others"},
		},
	},
	{
		Name: "reply-of-another-call", Guard: "what another call under the same ID is answered is not the answer", Breaks: "I6",
		Edits: []Edit{
			{"client/pending.go", "earlier && (attempt <= c.others || wire.Refuses(m))", "earlier && wire.Refuses(m)"},
		},
	},
	{
		Name: "attempts-go-on", Guard: "a call that is made again goes on counting its attempts", Breaks: "I4 I6",
		Edits: []Edit{
			{"client/pending.go", "\tif again && c.attempt > 0 && c.attempt < maxAttempts {", "\tif false {"},
		},
	},
	{
		Name: "pending-removed", Guard: "a call that has ended waits no more", Breaks: "I11",
		Edits: []Edit{
			{"client/pending.go", `	delete(p.calls, c.req.ID)
`, ""},
		},
	},
	{
		Name: "call-id-match", Guard: "a reply goes to the call with its ID", Breaks: "I6 I17",
		Edits: []Edit{
			{"client/pending.go", `	return p.calls[id]
`, `	if c := p.calls[id]; c != nil {
		return c
	}
	for _, c := range p.calls {
		return c
	}
	return nil
`},
		},
	},
	{
		Name: "place-given-back", Guard: "a call that has ended gives its place back", Breaks: "I9",
		Edits: []Edit{
			{"client/limit.go", "func (c *Client) leave() { <-c.places }", "func (c *Client) leave() {}"},
		},
	},
	{
		Name: "once-ambiguous", Guard: "once ambiguous, a call is never rejected", Breaks: "I4",
		Edits: []Edit{
			{"client/plan.go", "\tif p.maybe && e.Executed == rpc.ExecutedNo {", "\tif false {"},
		},
	},
	{
		Name: "bounce-ambiguous", Guard: "a bounce is ambiguous", Breaks: "I4",
		Edits: []Edit{
			{"client/plan.go", "p.maybe, p.bounce, p.last = true, true, errBusy", "p.bounce, p.last = true, errBusy"},
		},
	},
	{
		Name: "lost-ambiguous", Guard: "a session that is lost is ambiguous", Breaks: "I4",
		Edits: []Edit{
			{"client/plan.go", `	case lost, unheard:
		p.maybe, p.last = true, e.cause
`, `	case lost, unheard:
		p.last = e.cause
`},
		},
	},
	{
		Name: "unsure-ambiguous", Guard: "a publish that fails halfway is ambiguous", Breaks: "I4",
		Edits: []Edit{
			{"client/plan.go", `	case unsure:
		p.maybe, p.last = true, e.cause
`, `	case unsure:
		p.last = e.cause
`},
		},
	},
	{
		Name: "deadline-ambiguous", Guard: "a deadline while a request is out is ambiguous", Breaks: "I4",
		Edits: []Edit{
			{"client/plan.go", `	case over:
		p.maybe = p.maybe || e.out
`, `	case over:
`},
		},
	},
	{
		Name: "cancel-ambiguous", Guard: "a cancellation while a request is out is ambiguous", Breaks: "I4",
		Edits: []Edit{
			{"client/plan.go", `	case canceled:
		p.maybe = p.maybe || e.out
`, `	case canceled:
`},
		},
	},
	{
		Name: "refusal-may-come-back", Guard: "a no for the moment is not the last word on a request that was to wait in the queue", Breaks: "I4",
		Edits: []Edit{
			{"client/plan.go", `	back := e.Remote && e.Code.Retryable() && p.kept && !p.once
`, `	back := false
`},
		},
	},
	{
		Name: "once-client", Guard: "the client sends a call no second time that is to be executed at most once", Breaks: "I5",
		Edits: []Edit{
			{"client/plan.go", `	if p.once {
		return p.fail(rpc.Unavailable, p.last)`, `	if false {
		return p.fail(rpc.Unavailable, p.last)`},
		},
	},
	{
		Name: "once-retry", Guard: "such a call is tried again only after a no that says that it was not executed", Breaks: "I5",
		Edits: []Edit{
			{"client/plan.go", "e.Executed == rpc.ExecutedUnknown && !p.once", "e.Executed == rpc.ExecutedUnknown"},
		},
	},
	{
		Name: "retry-budget", Guard: "retries have a budget", Breaks: "I14",
		Edits: []Edit{
			{"client/budget.go", "\tif b.tokens < 1 {", "\tif false {"},
		},
	},
	{
		Name: "ack-before-reply", Guard: "a request is acknowledged after its reply", Breaks: "I9",
		Edits: []Edit{
			{"server/reply.go", `	if m, err := s.send(j, m, j.unconfirmed.publish)`, `	s.ack(j)
	if m, err := s.send(j, m, j.unconfirmed.publish)`},
		},
	},
	{
		Name: "reply-confirmed", Guard: "a request is acknowledged once the broker has confirmed the reply", Breaks: "I9",
		Edits: []Edit{
			{"server/unconfirmed.go", `		failpoint.Hit("published")
`, `		failpoint.Hit("published")
		u.confirmed(j)
`},
		},
	},
	{
		Name: "redelivered-no", Guard: "a request that was delivered before gets no \"executed no\"", Breaks: "I4",
		Edits: []Edit{
			{"server/answer.go", "\tif e.Executed == rpc.ExecutedNo && j.delivery.Redelivered {", "\tif false {"},
		},
	},
	{
		Name: "once-server", Guard: "a server starts no request that was delivered before and is to be executed at most once", Breaks: "I5",
		Edits: []Edit{
			{"server/again.go", "\t\tif r.AtMostOnce && r.Redelivered {", "\t\tif false {"},
		},
	},
	{
		Name: "expired-work", Guard: "work whose time is over is not started", Breaks: "I8",
		Edits: []Edit{
			{"server/answer.go", "\tcase !time.Now().Before(j.deadline):", "\tcase false:"},
		},
	},
	{
		Name: "drain-gives-back", Guard: "what has not started is given back when a server ends", Breaks: "I9 I12",
		Edits: []Edit{
			{"server/run.go", `	for _, j := range jobs {
		j.delivery.Nack(true)
	}
`, ""},
		},
	},
	{
		Name: "hidden-text", Guard: "the text of an error that is not for the caller stays here", Breaks: "I18",
		Edits: []Edit{
			{"server/verdict.go", "rpc.Errorf(code, \"%s\", text).WithCause(err)", "rpc.Errorf(code, \"%s: %v\", text, err).WithCause(err)"},
		},
	},
	{
		Name: "record-before-reply", Guard: "an outcome is recorded before it is answered", Breaks: "I2 I7",
		Edits: []Edit{
			{"idempotency/interceptor.go", `		if failed := o.settle(&r.grace, begun, &r.record, again); failed != nil {
`, `		go o.settle(&r.grace, begun, r.record.Clone(), again)
		if failed := (*rpc.Error)(nil); failed != nil {
`},
		},
	},
	{
		Name: "loser-silent", Guard: "who could not record the outcome does not answer it", Breaks: "I2 I7",
		Edits: []Edit{
			{"idempotency/interceptor.go", `			reply, err, undone = nil, failed, errors.Is(failed, ErrUndone)
`, `			undone = false
`},
		},
	},
	{
		Name: "dedupe", Guard: "a call that ran is answered with what is stored", Breaks: "I4 I5 I7",
		Edits: []Edit{
			{"idempotency/interceptor.go", `		reply, err = begun.Record.replay()
`, `		reply, err = o.next(ctx, req)
`},
		},
	},
	{
		Name: "mismatch", Guard: "a call ID with another payload does not run", Breaks: "I5 I7 I16",
		Edits: []Edit{
			{"idempotency/interceptor.go", `		return nil, rpc.Errorf(rpc.InvalidArgument, "call ID was used before with another payload").
			WithExecuted(rpc.ExecutedNo), false
`, `		reply, err = o.next(ctx, req)
		return reply, err, false
`},
		},
	},
	{
		Name: "duplicates-wait", Guard: "a duplicate waits while the call runs, here or elsewhere", Breaks: "I5",
		Edits: []Edit{
			{"idempotency/interceptor.go", "\tfor left := o.flights.enter(hash); left != nil; left = o.flights.enter(hash) {", "\tfor left := (<-chan struct{})(nil); left != nil; {"},
			{"idempotency/interceptor.go", `		if begun.State == InFlight {
`, `		if begun.State == InFlight {
			return o.next(ctx, req)
		}
		if begun.State == InFlight {
`},
		},
	},
	{
		Name: "orphan-once", Guard: "a call whose holder is gone does not run again if it is to be executed at most once", Breaks: "I5",
		Edits: []Edit{
			{"idempotency/interceptor.go", `		if req.AtMostOnce {
			return o.run(ctx, req, begun, orphan)
		}
`, ""},
		},
	},
	{
		Name: "orphan-abandoned", Guard: "that the second holder did not run it says nothing of the first", Breaks: "I4",
		Edits: []Edit{
			{"idempotency/interceptor.go", `		if begun.State == Orphaned {
			return record.Err`, `		if false {
			return record.Err`},
		},
	},
	{
		Name: "tenant-client", Guard: "call IDs of two clients are two calls", Breaks: "I6 I17",
		Edits: []Edit{
			{"idempotency/key.go", "User: req.User, Client: req.Client, ", "User: req.User, "},
		},
	},
	{
		Name: "tenant-user", Guard: "call IDs of two users are two calls", Breaks: "I6 I17",
		Edits: []Edit{
			{"idempotency/key.go", "{User: req.User, Client: req.Client, ", "{Client: req.Client, "},
		},
	},
	{
		Name: "session-bound-acks", Guard: "an acknowledgement belongs to its session", Breaks: "I9 I19",
		Edits: []Edit{
			{"conn/conntest/consumer.go", `	if s.over {
		return s.closedErr("settle")
	}
	if ack`, `	if s.over { // the number of the delivery is that of another one in the next session
		if s = s.c.shared; s == nil || s.over || len(s.unsettled) == 0 {
			return nil
		}
		u = s.unsettled[0]
	}
	if ack`},
		},
	},
	{
		Name: "fencing", Guard: "only the holder of the claim records an outcome", Breaks: "I2 I5 I7",
		Edits: []Edit{
			{"internal/simulation/shared_test.go", `	if e == nil || e.record != nil || e.fence != token.Fence {
		return s.lost()
`, `	if e == nil {
		return s.lost()
`},
		},
	},
	{
		Name: "deadline-within", Guard: "the deadline is checked again after the claim, in the transaction", Breaks: "I5",
		Edits: []Edit{
			{"internal/simulation/shared_test.go", `	if expired(ctx) {
`, `	if false {
`},
		},
	},
	{
		Name: "one-transaction", Guard: "effect and record are one transaction", Breaks: "I5",
		Edits: []Edit{
			{"internal/simulation/process_test.go", `		err = t.transfer(x)
`, `		err = p.w.bank.transfer(x)
`},
		},
	},
	{
		Name: "conflicts", Guard: "a transaction that rests on what others have changed is rolled back", Breaks: "I1",
		Edits: []Edit{
			{"internal/simulation/bank_test.go", "\tif t.bank.versions[from] != t.versions[from] {", "\tif from < 0 {"},
		},
	},
	// The waits in these make moments that are there anyway long enough for a real broker.
}
