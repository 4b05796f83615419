package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// An action is what a step does to its target: it breaks something, and returns how to heal that, nil if it heals by
// itself. Both return when it is done.
type action struct {
	target, fault string // the target server is any of the servers
	about         string
	do            func(ctx context.Context, r *run, s Step) (heal func(context.Context) error, err error)
}

// actions are all that steps may do, but for faults on the line.
var actions = slices.Concat(brokerActions, storeActions, serverActions, guestActions, userActions, serviceActions)

// find returns the action of a step; nil if there is none.
func find(s Step) *action {
	target := s.Target
	if strings.HasPrefix(target, serverPrefix) {
		target = anyServer
	}
	for i, a := range actions {
		if a.target == target && a.fault == s.Fault {
			return &actions[i]
		}
	}
	return nil
}

const (
	anyServer    = "server"
	serverPrefix = "server-"
)

// process is what can be killed and frozen: the broker, the database, a server.
type process interface {
	Start(context.Context) error
	Kill() error
	Pause() error
	Resume() error
}

// lives are the actions on a process.
func lives(target string, of func(r *run, target string) process) []action {
	return []action{
		{target, "kill", "SIGKILL; started again afterwards", func(_ context.Context, r *run, s Step) (func(context.Context) error, error) {
			p := of(r, s.Target)
			return p.Start, p.Kill()
		}},
		{target, "freeze", "SIGSTOP, and SIGCONT afterwards", func(_ context.Context, r *run, s Step) (func(context.Context) error, error) {
			p := of(r, s.Target)
			err := p.Pause()
			if errors.Is(err, chaos.ErrDown) {
				return nil, err // there is nobody to wake up
			}
			return func(context.Context) error { return p.Resume() }, err
		}},
	}
}

// both is an action that is undone by its opposite.
func both(target, fault, about string, do, undo func(context.Context, *run) error) action {
	return action{target, fault, about, func(ctx context.Context, r *run, _ Step) (func(context.Context) error, error) {
		return func(ctx context.Context) error { return undo(ctx, r) }, do(ctx, r)
	}}
}

// only is an action that nobody has to undo.
func only(target, fault, about string, do func(context.Context, *run) error) action {
	return action{target, fault, about, func(ctx context.Context, r *run, _ Step) (func(context.Context) error, error) {
		return nil, do(ctx, r)
	}}
}

var brokerActions = append(lives("broker", func(r *run, _ string) process { return r.lab.node }),
	both("broker", "stop", "shut down in good order; started again afterwards",
		func(ctx context.Context, r *run) error { return r.lab.node.Stop(ctx) },
		func(ctx context.Context, r *run) error { return r.lab.node.Start(ctx) }),
	both("broker", "restart-app", "the RabbitMQ application stops, and starts again",
		func(ctx context.Context, r *run) error { return r.lab.node.StopApp(ctx) },
		func(ctx context.Context, r *run) error { return r.lab.node.StartApp(ctx) }),
	both("broker", "drain", "maintenance: its connections are closed, and no new ones taken",
		func(ctx context.Context, r *run) error { return r.lab.node.Drain(ctx) },
		func(ctx context.Context, r *run) error { return r.lab.node.Revive(ctx) }),
	both("broker", "memory-alarm", "publishers are blocked",
		func(ctx context.Context, r *run) error { return r.lab.node.Raise(ctx, chaos.MemoryAlarm) },
		func(ctx context.Context, r *run) error { return r.lab.node.Clear(ctx, chaos.MemoryAlarm) }),
	both("broker", "disk-alarm", "publishers are blocked",
		func(ctx context.Context, r *run) error { return r.lab.node.Raise(ctx, chaos.DiskAlarm) },
		func(ctx context.Context, r *run) error { return r.lab.node.Clear(ctx, chaos.DiskAlarm) }),
	only("broker", "close-connections", "an operator closes all connections",
		func(ctx context.Context, r *run) error { return r.lab.node.CloseConnections(ctx) }),
	both("broker", "delete-vhost", "the virtual host is deleted, with all queues, and made again, empty",
		func(ctx context.Context, r *run) error { return r.lab.node.DeleteVhost(ctx, "/") },
		func(ctx context.Context, r *run) error {
			if err := r.lab.node.AddVhost(ctx, "/"); err != nil {
				return err
			}
			return r.lab.grant(ctx)
		}),
	both("broker", "consumer-timeout", "all connections are closed, and acknowledgements are overdue after a second from then on",
		func(ctx context.Context, r *run) error { return r.consumerTimeout(ctx, time.Second) },
		func(ctx context.Context, r *run) error { return r.consumerTimeout(ctx, 30*time.Minute) }),
	packets("packet-loss", "30 % of the packets are dropped, to the broker and from it", func(r *run) (*chaos.Filter, error) {
		return r.lab.node.Loss(30)
	}),
	packets("drop-syn", "the first packet of each new connection is dropped", func(r *run) (*chaos.Filter, error) {
		return r.lab.node.DropSYN()
	}),
)

// consumerTimeout sets how long acknowledgements may take, in new connections, of which there will be no others.
func (r *run) consumerTimeout(ctx context.Context, d time.Duration) error {
	if err := r.lab.node.ConsumerTimeout(ctx, d); err != nil {
		return err
	}
	return r.lab.node.CloseConnections(ctx)
}

// errNoEffect is how an action tells, when it is healed, that it has had no effect. The run goes on.
var errNoEffect = errors.New("it had no effect")

// effects is the healing of what heals by itself, and has had so many effects.
func effects(n int) func(context.Context) error {
	return func(context.Context) error {
		if n == 0 {
			return errNoEffect
		}
		return nil
	}
}

// packets is an action that drops packets between the broker and its clients.
func packets(fault, about string, filter func(r *run) (*chaos.Filter, error)) action {
	return action{"broker", fault, about, func(_ context.Context, r *run, _ Step) (func(context.Context) error, error) {
		f, err := filter(r)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			dropped, err := f.Dropped()
			if err := errors.Join(err, f.Heal()); err != nil {
				return err
			}
			return effects(dropped)(ctx)
		}, nil
	}}
}

var storeActions = append(lives("store", func(r *run, _ string) process { return r.lab.database }),
	onStoreLine("slow", "each answer of PostgreSQL takes 300 ms more", chaos.Latency{Delay: 300 * time.Millisecond, Dir: chaos.ToClient}),
	onStoreLine("cut", "all connections with PostgreSQL are reset, as in a failover", chaos.Reset{}),
)

func onStoreLine(fault, about string, f chaos.Fault) action {
	return action{"store", fault, about, func(_ context.Context, r *run, _ Step) (func(context.Context) error, error) {
		in := r.lab.storeLine.Inject(f)
		return func(ctx context.Context) error {
			in.Heal()
			return effects(in.Bites())(ctx)
		}, nil
	}}
}

var serverActions = append(lives(anyServer, func(r *run, t string) process { return r.servers[t] }),
	action{anyServer, "crash", "killed at a point of a call; started again afterwards", crash},
	action{anyServer, "drain", "SIGTERM: it answers what it has begun, and ends; started again afterwards", drain},
)

var guestActions = lives(guestsName, func(r *run, _ string) process { return r.guests })

// crash starts a server anew with an order to die at the step's point of a call, and waits until it has.
func crash(ctx context.Context, r *run, step Step) (func(context.Context) error, error) {
	s := r.servers[step.Target]
	if err := s.Stop(ctx); err != nil {
		return s.Start, err
	}
	if err := s.startBroken(ctx, step.Point.failpoint()); err != nil {
		return s.Start, err
	}
	ctx, cancel := context.WithTimeout(ctx, crashPatience)
	defer cancel()
	p := s.process()
	select {
	case <-p.Done():
		if err := p.Wait(ctx); !killed(err) {
			return s.Start, fmt.Errorf("%s has ended before %s: %w", step.Target, step.Point, cmp.Or(err, errExit0))
		}
		return s.Start, nil
	case <-ctx.Done():
		// It must not come to that after the faults.
		return s.Start, errors.Join(fmt.Errorf("%s has not come to %s: is it built with this library?", step.Target, step.Point), s.Kill())
	}
}

const crashPatience = 10 * time.Second

// drain ends a server as its supervisor would, and wants it to have ended well.
func drain(ctx context.Context, r *run, step Step) (func(context.Context) error, error) {
	s := r.servers[step.Target]
	return s.Start, s.drain(ctx)
}

var userActions = []action{
	both("user", "password", "the password is changed, and the connections of the user closed; then it is as before",
		func(ctx context.Context, r *run) error {
			if err := r.lab.node.ChangePassword(ctx, brokerUser, "another"); err != nil {
				return err
			}
			return r.lab.node.CloseConnections(ctx)
		},
		func(ctx context.Context, r *run) error {
			return r.lab.node.ChangePassword(ctx, brokerUser, r.lab.password)
		}),
	both("user", "delete", "the user is deleted, and made again",
		func(ctx context.Context, r *run) error { return r.lab.node.DeleteUser(ctx, brokerUser) },
		func(ctx context.Context, r *run) error {
			if err := r.lab.node.AddUser(ctx, brokerUser, r.lab.password); err != nil {
				return err
			}
			return r.lab.grant(ctx)
		}),
	both("user", "permissions", "all rights are revoked, and granted again",
		func(ctx context.Context, r *run) error { return r.lab.node.ClearPermissions(ctx, brokerUser, "/") },
		func(ctx context.Context, r *run) error { return r.lab.grant(ctx) }),
	both("user", "connection-limit", "all connections are closed, and one may be opened",
		func(ctx context.Context, r *run) error {
			if err := r.lab.node.LimitConnections(ctx, brokerUser, 1); err != nil {
				return err
			}
			return r.lab.node.CloseConnections(ctx)
		},
		func(ctx context.Context, r *run) error { return r.lab.node.LimitConnections(ctx, brokerUser, -1) }),
	both("user", "channel-limit", "all connections are closed, and two channels may be opened",
		func(ctx context.Context, r *run) error {
			if err := r.lab.node.LimitChannels(ctx, brokerUser, 2); err != nil {
				return err
			}
			return r.lab.node.CloseConnections(ctx)
		},
		func(ctx context.Context, r *run) error { return r.lab.node.LimitChannels(ctx, brokerUser, -1) }),
}

var serviceActions = []action{
	only("service", "delete-queue", "the queue is deleted, with what is in it",
		func(ctx context.Context, r *run) error { return r.lab.node.DeleteQueue(ctx, r.queue()) }),
	{"service", "purge-queue", "what waits in the queue is thrown away",
		func(ctx context.Context, r *run, _ Step) (func(context.Context) error, error) {
			n, err := r.lab.node.PurgeQueue(ctx, r.queue())
			return effects(n), err
		}},
	only("service", "delete-exchange", "the exchange of the service is deleted, with its bindings",
		func(ctx context.Context, r *run) error { return r.lab.node.DeleteExchange(ctx, r.exchange()) }),
}
