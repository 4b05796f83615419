package conn

import "time"

// Hooks are told what happens to the sessions of a [Manager]: metrics are made of them. Those that are nil cost nothing.
// They run on the goroutine that dials, so they must be quick.
type Hooks struct {
	// Connected tells that there is a session, and how long there was none: since the one before was lost, or since Open.
	Connected func(after time.Duration)

	// Lost tells that the session has ended, other than by Close: why, and how old it was.
	Lost func(err error, age time.Duration)

	// DialFailed tells that each URL was tried once, in vain.
	DialFailed func(err error)
}

// WithHooks tells h what happens, after the hooks that were given before.
func WithHooks(h Hooks) Option { return func(o *options) { o.hooks = append(o.hooks, h) } }

func (o *options) connected(after time.Duration) {
	for _, h := range o.hooks {
		if h.Connected != nil {
			h.Connected(after)
		}
	}
}

func (o *options) lost(err error, age time.Duration) {
	for _, h := range o.hooks {
		if h.Lost != nil {
			h.Lost(err, age)
		}
	}
}

func (o *options) dialFailed(err error) {
	for _, h := range o.hooks {
		if h.DialFailed != nil {
			h.DialFailed(err)
		}
	}
}
