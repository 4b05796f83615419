package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
)

const (
	pollEvery    = 20 * time.Millisecond
	startTimeout = time.Minute // a start takes three seconds
	probeTimeout = time.Second // an answer takes a millisecond

	freezeTimeout = 10 * time.Second // a thread that writes to a slow disk stops after that
)

// await polls try until it succeeds, the process ends, or ctx does.
func (p *process) await(ctx context.Context, try func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("process ended: %v", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// probeBroker reports whether a broker takes connections at addr: it sends the protocol header, and expects connection.start,
// which a broker that is still booting doesn't send. See AMQP 0-9-1, section 2.2.4.
func probeBroker(ctx context.Context, dial dialer, addr string) error {
	frame, err := ask(ctx, dial, addr, "AMQP\x00\x00\x09\x01", 11)
	if err != nil {
		return err
	}
	method, channel, start := []byte{1}, []byte{0, 0}, []byte{0, 10, 0, 10}
	if !bytes.Equal(frame[:1], method) || !bytes.Equal(frame[1:3], channel) || !bytes.Equal(frame[7:], start) {
		return fmt.Errorf("broker answered % x", frame)
	}
	return nil
}

// probePostgres reports whether a PostgreSQL server takes connections at addr: it asks for one, and expects to be asked
// for a password, which a server that is still recovering doesn't do.
func probePostgres(ctx context.Context, dial dialer, addr string) error {
	answer, err := ask(ctx, dial, addr, "\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00", 9)
	if err != nil {
		return err
	}
	if answer[0] != 'R' {
		return fmt.Errorf("postgres answered %q", answer)
	}
	return nil
}

// ask says hello to who listens at addr, and returns the first n bytes of the answer.
func ask(ctx context.Context, dial dialer, addr, hello string, n int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	if _, err := io.WriteString(c, hello); err != nil {
		return nil, err
	}
	answer := make([]byte, n)
	_, err = io.ReadFull(c, answer)
	return answer, err
}
