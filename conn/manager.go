package conn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	hookTimeout = time.Second      // that Close waits for a hook when its own time is over
	stableAfter = 5 * time.Second  // a session that lived this long resets the backoff
	sayEvery    = 10 * time.Second // that the same failure is said again
	slowRetry   = 5 * time.Second  // the least mean wait after a refusal: more tries will not help, and may lock the user out

	// quickRetry is the longest wait while nobody listens: a dial then costs the broker nothing, and its return is noticed
	// soon. It is long enough to spread those who come back over what a broker takes in.
	quickRetry = 400 * time.Millisecond
)

// A Manager keeps one session alive for all its users. Make it with [Open].
type Manager struct {
	endpoints []endpoint
	opts      options
	life      context.Context // ends with Close
	cancel    context.CancelFunc
	done      chan struct{} // closed when run has returned

	mu       sync.Mutex // guards what follows
	state    State
	live     *session      // nil unless connected
	changed  chan struct{} // closed and replaced with each new state
	watchers map[chan State]struct{}
}

// Open starts a manager for the broker at url, or for a cluster: several URLs, separated by commas, that are tried in
// random order. It waits for the first session; if ctx ends before, the error is [ErrNotConnected] with the reason, and
// nothing is left running. A URL or option that cannot be right is an error at once.
func Open(ctx context.Context, url string, opts ...Option) (*Manager, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	endpoints, err := parseURLs(url)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.Background())
	m := &Manager{
		endpoints: endpoints,
		opts:      *o,
		life:      life,
		cancel:    cancel,
		done:      make(chan struct{}),
		state:     State{Phase: Connecting, Since: time.Now()},
		changed:   make(chan struct{}),
		watchers:  make(map[chan State]struct{}),
	}
	go m.run(life)
	if o.background {
		return m, nil
	}
	if _, err := m.Session(ctx); err != nil {
		m.Close(ctx)
		return nil, err
	}
	return m, nil
}

var errShut = errors.New("manager is closed")

// Session returns the live session, or waits for one until ctx ends. See [Connector].
func (m *Manager) Session(ctx context.Context) (Session, error) {
	for {
		m.mu.Lock()
		live, state, changed := m.live, m.state, m.changed
		m.mu.Unlock()
		if state.Phase == Closed {
			return nil, fmt.Errorf("%w: %w", ErrNotConnected, errShut)
		}
		if live != nil && live.Err() == nil {
			return live, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if state.Err == nil {
				return nil, fmt.Errorf("%w: %w", ErrNotConnected, ctx.Err())
			}
			return nil, fmt.Errorf("%w: %w", ErrNotConnected, state.Err)
		}
	}
}

// Dial opens a session for the caller alone, trying each URL once. See [Connector].
func (m *Manager) Dial(ctx context.Context) (Session, error) {
	s, err := m.dialAny(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return s, nil
}

// Elsewhere returns a dialer for each address but that of the live session. See [Connector].
func (m *Manager) Elsewhere() (others []Dialer) {
	live := m.State().Addr
	for i, e := range m.endpoints {
		if e.String() != live {
			others = append(others, address{m, i})
		}
	}
	return others
}

// An address is one of several.
type address struct {
	m *Manager
	i int
}

// String returns the URL without credentials.
func (a address) String() string { return a.m.endpoints[a.i].String() }

func (a address) Dial(ctx context.Context) (Session, error) {
	s, err := a.m.dial(ctx, a.i)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return s, nil
}

// Close ends the live session and stops dialing. It returns when ctx ends at the latest, with nothing left running; but where a hook
// runs that does not return, such as one that calls Close, a second later.
func (m *Manager) Close(ctx context.Context) error {
	m.cancel()
	m.rest(ctx)
	m.mu.Lock()
	live := m.live
	m.mu.Unlock()
	m.set(State{Phase: Closed}, nil)
	if live == nil {
		return nil
	}
	return live.Close(ctx)
}

// rest waits for the end of run. But for hooks, that only waits for what its own context ends: so it is soon, whatever ctx says.
func (m *Manager) rest(ctx context.Context) {
	select {
	case <-m.done:
		return
	case <-ctx.Done():
	}
	limit := time.NewTimer(hookTimeout)
	defer limit.Stop()
	select {
	case <-m.done:
	case <-limit.C:
	}
}

// run is the life of the manager: dial, hand out, wait for the end, again.
func (m *Manager) run(ctx context.Context) {
	defer close(m.done)
	wait := newBackoff(m.opts.minBackoff, m.opts.maxBackoff)
	lost := time.Now()
	for {
		s := m.connect(ctx, wait)
		if s == nil {
			return
		}
		born := time.Now()
		m.opts.connected(time.Since(lost))
		if !m.set(State{Phase: Connected, Addr: s.addr}, s) {
			s.die(ErrClosed)
			return
		}
		m.opts.log.Info("connected", "broker", s.addr)
		select {
		case <-s.Done():
		case <-ctx.Done():
			return // Close ends the session
		}
		if time.Since(born) >= stableAfter {
			wait.Reset()
		}
		m.opts.log.Warn("session lost", "broker", s.addr, "err", s.Err(), "after", time.Since(born).Round(time.Millisecond))
		lost = time.Now()
		m.opts.lost(s.Err(), lost.Sub(born))
		m.set(State{Phase: Connecting, Err: s.Err()}, nil)
		if !sleep(ctx, wait.NextBackOff()) {
			return
		}
	}
}

// connect dials until it has a session. It returns nil when ctx has ended.
func (m *Manager) connect(ctx context.Context, wait backoff.BackOff) *session {
	var said string // the last failure in the log
	var saidAt time.Time
	for attempt := 1; ; attempt++ {
		s, err := m.dialAny(ctx)
		if err == nil {
			return s
		}
		if ctx.Err() != nil {
			return nil
		}
		m.opts.dialFailed(err)
		m.set(State{Phase: Connecting, Err: err, Attempt: attempt}, nil)
		var delay time.Duration
		if nobodyListens(err) {
			delay = rand.N(min(quickRetry, m.opts.maxBackoff))
		} else {
			delay = wait.NextBackOff()
		}
		if errors.Is(err, ErrRefused) {
			delay = max(delay, slowRetry/2+rand.N(slowRetry))
			m.opts.log.Error("broker refuses the connection: check user, password, virtual host and limits",
				"err", err, "attempt", attempt, "retry", delay.Round(time.Millisecond))
		} else if text := err.Error(); text != said || time.Since(saidAt) >= sayEvery {
			m.opts.log.Warn("cannot connect", "err", err, "attempt", attempt, "retry", delay.Round(time.Millisecond))
			said, saidAt = text, time.Now()
		}
		if !sleep(ctx, delay) {
			return nil
		}
	}
}

// dialAny tries each URL once, in random order, so that the clients of a cluster spread and none insists on a dead node.
func (m *Manager) dialAny(ctx context.Context) (*session, error) {
	errs := make([]error, len(m.endpoints)) // in their own order, so that the same failure reads the same
	for _, i := range rand.Perm(len(m.endpoints)) {
		s, err := m.dial(ctx, i)
		if err == nil {
			return s, nil
		}
		errs[i] = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (m *Manager) dial(ctx context.Context, i int) (*session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	err := m.life.Err()
	var s *session
	if err == nil {
		s, err = dialSession(ctx, m.endpoints[i], &m.opts)
	}
	switch {
	case err == nil:
		return s, nil
	case m.life.Err() != nil:
		return nil, errShut
	}
	return nil, fmt.Errorf("connect to %s: %w", m.endpoints[i], err)
}

// nobodyListens reports whether each dial of a round was turned away by the host, without a broker to see it.
func nobodyListens(err error) bool {
	round, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	for _, e := range round.Unwrap() {
		if !errors.Is(e, syscall.ECONNREFUSED) {
			return false
		}
	}
	return true
}

// newBackoff makes full jitter: a random wait between zero and a limit that doubles from least to most. The library draws
// from an interval around a mean, so it is given half of the limits as the mean and all of it as the deviation.
// See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
func newBackoff(least, most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(max(1, least/2)),
		backoff.WithMaxInterval(max(1, most/2)),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxElapsedTime(0),
	)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
