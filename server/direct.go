package server

import (
	"context"
	"errors"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// direct publishes replies to RabbitMQ's direct reply-to addresses. Up to RabbitMQ 4.2 an address that was made up ends
// the connection on which it is answered, with all replies that are on their way there. So an address is first answered
// in a session for trials, one at a time, that none but its own reply can be lost with; only one that has passed is
// answered in the session that all such replies share. Neither is the session that the server works in.
type direct struct {
	trusted, trial lane
	tried          *lru.Cache[string, bool] // address -> it has passed
	untried        untried
	life           context.Context // of the trials
	end            context.CancelFunc
}

const (
	directTimeout = 5 * time.Second // to dial, or for the broker's verdict
	internalError = 541             // what RabbitMQ up to 4.2 makes of an address that was made up
	maxTried      = 32768           // addresses remembered; one that is forgotten is tried again
)

var (
	errMadeUp  = errors.New("direct reply-to address was made up")
	errTrials  = errors.New("too many new direct reply-to addresses")
	errVerdict = errors.New("no verdict of the broker")
)

// newDirect makes a direct that leaves at most so many requests unsettled while it tries addresses.
func newDirect(c conn.Connector, maxHeld int) *direct {
	tried, err := lru.New[string, bool](maxTried)
	if err != nil {
		panic(err) // only for a size below one
	}
	d := &direct{
		trusted: lane{conn: c}, trial: lane{conn: c}, tried: tried,
		untried: untried{maxHeld: maxHeld, replies: make(map[string][]*untriedReply)},
	}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// publish publishes a reply to the address that is its key, or, where that has to be tried first, sees to it that this happens.
// Then, or when it has come to nothing, settle is called with what went wrong. It may be called early, with nil, and again if
// something goes wrong. The size is that of all that is kept in memory until then.
func (d *direct) publish(ctx context.Context, m *conn.Message, size int, settle func(error)) {
	if passed, tried := d.tried.Get(m.Key); tried {
		settle(d.send(ctx, m, passed))
		return
	}
	if d.untried.add(&untriedReply{m: m, size: size + untriedOverhead, settle: settle}) {
		go d.tryAll()
	}
}

// send publishes a reply to an address that was tried.
func (d *direct) send(ctx context.Context, m *conn.Message, passed bool) error {
	if !passed {
		return errMadeUp
	}
	o, err := d.trusted.openSoon(ctx)
	if err != nil {
		return err
	}
	return o.publish(ctx, m, nil)
}

// tryAll tries the addresses, one after the other, each with the first reply to it.
func (d *direct) tryAll() {
	defer d.untried.trials.Done()
	for address, m := d.untried.next(); m != nil; address, m = d.untried.next() {
		err := d.try(m)
		for i, r := range d.untried.take(address) {
			if i > 0 && err == nil {
				r.settle(d.send(d.life, r.m, true))
			} else {
				r.settle(err)
			}
		}
	}
}

// try publishes a reply to an address that may be made up, and notes which it is.
func (d *direct) try(m *conn.Message) error {
	o, err := d.trial.openSoon(d.life)
	if err != nil {
		return err
	}
	address := strings.Clone(m.Key) // and not the request that it is a part of
	passed := make(chan struct{}, 1)
	if err := o.publish(d.life, m, func(bool) { passed <- struct{}{} }); err != nil {
		return err
	}
	err = d.verdict(o.session, passed)
	refused, _ := errors.AsType[*conn.Error](err) // a session may end in other ways
	switch {
	case err == nil:
		d.tried.Add(address, true)
	case refused != nil && refused.Code == internalError:
		d.tried.Add(address, false)
		return errMadeUp
	case err == errVerdict && d.life.Err() == nil: // it may still come, and would pass for that on the next address
		d.abandon(o.session)
	}
	return err
}

// abandon ends a session for trials, within the time that those who wait for the next may have to.
func (d *direct) abandon(session conn.Session) {
	ctx, cancel := context.WithTimeout(d.life, directTimeout)
	defer cancel()
	session.Close(ctx) // an error: the broker does not answer
}

// verdict waits for the broker's verdict, which it gives after an alarm.
func (d *direct) verdict(session conn.Session, passed <-chan struct{}) error {
	limit := time.NewTimer(directTimeout)
	defer limit.Stop()
	var alarm <-chan struct{}
	for {
		select {
		case <-passed:
			return nil
		case <-session.Done():
			return session.Err()
		case <-d.life.Done():
			return errVerdict
		case <-alarm:
			alarm = nil
			limit.Reset(directTimeout)
		case <-limit.C:
			if alarm = session.Blocked(); alarm == nil {
				return errVerdict
			}
		}
	}
}

func (d *direct) close() {
	d.end()
	d.untried.close()
	ctx, cancel := context.WithTimeout(context.Background(), directTimeout)
	defer cancel()
	d.trusted.close(ctx)
	d.trial.close(ctx)
}
