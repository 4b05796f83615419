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
	turn           chan struct{}            // who sends into it may use trial
	waiting        chan struct{}            // holds one for each that waits for the turn
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

// newDirect makes a direct in which at most waiting replies wait for their trial.
func newDirect(c conn.Connector, waiting int, onReturn func(*conn.Return)) *direct {
	tried, err := lru.New[string, bool](maxTried)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &direct{
		trusted: lane{conn: c, onReturn: onReturn}, trial: lane{conn: c, onReturn: onReturn}, tried: tried,
		turn: make(chan struct{}, 1), waiting: make(chan struct{}, waiting),
	}
}

// publish publishes a reply to the address that is its key.
func (d *direct) publish(ctx context.Context, m *conn.Message) error {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	switch passed, tried := d.tried.Get(m.Key); {
	case passed:
		o, err := d.trusted.open(ctx)
		if err != nil {
			return err
		}
		return o.publish(ctx, m, nil)
	case tried:
		return errMadeUp
	}
	select {
	case d.waiting <- struct{}{}:
		defer func() { <-d.waiting }()
	default: // a flood of made-up addresses must not take all workers
		return errTrials
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return errTrials
	}
	return d.try(ctx, m)
}

func (d *direct) try(ctx context.Context, m *conn.Message) error {
	o, err := d.trial.open(ctx)
	if err != nil {
		return err
	}
	address := strings.Clone(m.Key) // and not the request that it is a part of
	verdict := make(chan struct{}, 1)
	if err := o.publish(ctx, m, func(bool) { verdict <- struct{}{} }); err != nil {
		return err
	}
	select {
	case <-verdict:
		d.tried.Add(address, true)
		return nil
	case <-o.session.Done():
		var refused *conn.Error // by the broker; a session may end in other ways
		if errors.As(o.session.Err(), &refused) && refused.Code == internalError {
			d.tried.Add(address, false)
		}
		return errMadeUp
	case <-ctx.Done():
		return errVerdict
	}
}

func (d *direct) close() {
	ctx, cancel := context.WithTimeout(context.Background(), directTimeout)
	defer cancel()
	d.trusted.close(ctx)
	d.trial.close(ctx)
}
