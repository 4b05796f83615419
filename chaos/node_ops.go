package chaos

import (
	"context"
	"fmt"
	"time"
)

// Drain puts the node into maintenance, as `rabbitmq-upgrade drain` does: it takes no new connections (they are refused),
// closes those that there are (320, "Node was put into maintenance mode"), and hands the leadership of quorum queues to other
// nodes. Its queues remain.
func (n *Node) Drain(ctx context.Context) error {
	// It fails halfway if a connection ends by itself just then, and goes on from there when it is asked again.
	return n.eval(ctx, `
Drain = fun F(0) -> ok = rabbit_maintenance:drain();
	F(More) -> case catch rabbit_maintenance:drain() of ok -> ok; {'EXIT', _} -> F(More - 1) end
end, Drain(10)`)
}

// Revive ends maintenance. So does a restart.
func (n *Node) Revive(ctx context.Context) error {
	return n.eval(ctx, "ok = rabbit_maintenance:revive()")
}

// StopApp stops the broker within the node, as `rabbitmqctl stop_app` does: connections are closed (320, "shutdown"), new
// ones refused. What is durable remains; what is not, as reply queues, is gone. The process lives on, so Start does not help.
func (n *Node) StopApp(ctx context.Context) error { return n.eval(ctx, "ok = rabbit:stop()") }

// StartApp starts the broker again that StopApp has stopped.
func (n *Node) StartApp(ctx context.Context) error { return n.eval(ctx, "ok = rabbit:start()") }

// CloseConnections closes the connections of all clients of the node, as an operator may (320). Clients may connect again
// at once. In a cluster those of the other nodes stay.
func (n *Node) CloseConnections(ctx context.Context) error {
	// One that has just ended is an exception, and no reason to leave the others open.
	return n.eval(ctx, `[catch rabbit_networking:close_connection(P, "closed by chaos") || P <- rabbit_networking:local_connections()]`)
}

// An Alarm tells that the broker is short of something. While there is one, on any node of a cluster, the broker reads nothing
// from connections that publish: publishes stay in the sockets, and after the first, such a client gets connection.blocked,
// if it has asked for that. Connections that only consume go on.
type Alarm string

// The alarms.
const (
	MemoryAlarm Alarm = "memory"
	DiskAlarm   Alarm = "disk"
)

// Raise raises an alarm. It ends with Clear, or when the broker stops.
func (n *Node) Raise(ctx context.Context, a Alarm) error {
	return n.eval(ctx, "rabbit_alarm:set_alarm({%s, []}), rabbit_alarm:get_alarms()", a.limit())
}

// Clear ends an alarm. Blocked clients get connection.unblocked, and what they have sent meanwhile is read.
func (n *Node) Clear(ctx context.Context, a Alarm) error {
	return n.eval(ctx, "rabbit_alarm:clear_alarm(%s), rabbit_alarm:get_alarms()", a.limit())
}

func (a Alarm) limit() string { return fmt.Sprintf("{resource_limit, %s, node()}", string(a)) }

// ConsumerTimeout sets the time that a consumer may take to acknowledge, which is 30 minutes otherwise, and how closely that is
// watched, on channels that are opened from now on. When it is over the channel is closed (406, "delivery acknowledgement
// on channel ... timed out") and all its unacknowledged messages are delivered again. From RabbitMQ 4.3 on it is
// basic.cancel, on quorum queues only. A restart resets it.
func (n *Node) ConsumerTimeout(ctx context.Context, d time.Duration) error {
	return n.eval(ctx, "application:set_env(rabbit, consumer_timeout, %d), application:set_env(rabbit, channel_tick_interval, %d)",
		d.Milliseconds(), max(1, min(d.Milliseconds()/2, 1000)))
}
