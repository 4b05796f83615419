package chaos

import "context"

// DeleteQueue deletes a queue of the default virtual host with all that is in it. Its consumers get basic.cancel; channels
// and connections stay. Publishes to it are unroutable from now on: mandatory ones are returned (312), others are lost.
func (n *Node) DeleteQueue(ctx context.Context, name string) error {
	return n.eval(ctx, "{ok, _} = rabbit_amqqueue:with(%s, fun(Q) -> rabbit_amqqueue:delete(Q, false, false, %s) end)",
		resource("queue", name), actor)
}

// PurgeQueue drops what waits in a queue of the default virtual host, and returns how much that was. Nobody is told: neither
// publishers, which have their confirms, nor consumers. What is delivered and unacknowledged stays.
func (n *Node) PurgeQueue(ctx context.Context, name string) (int, error) {
	return n.number(ctx, "{ok, N} = rabbit_amqqueue:with(%s, fun rabbit_amqqueue:purge/1), N", resource("queue", name))
}

// TakeLead makes the node the leader of a quorum queue of the default virtual host, of which it has a replica.
func (n *Node) TakeLead(ctx context.Context, name string) error {
	return n.eval(ctx, "{ok, Q} = rabbit_amqqueue:lookup(%s), {migrated, _} = rabbit_quorum_queue:transfer_leadership(Q, node())",
		resource("queue", name))
}

// Forget makes the node forget the queues that are exclusive to connections with another one, as RabbitMQ does when nodes lose each
// other for a moment. The other node and its clients know nothing of it; what is published to them here is unroutable. It returns how
// many there were. It is for RabbitMQ with Mnesia.
func (n *Node) Forget(ctx context.Context, other *Node) (int, error) {
	return n.number(ctx, `length([ets:delete(rabbit_queue, amqqueue:get_name(Q)) || Q <- rabbit_amqqueue:list(),
		is_pid(amqqueue:get_exclusive_owner(Q)), node(amqqueue:get_exclusive_owner(Q)) =:= '%s'])`, other.name)
}

// DeleteExchange deletes an exchange of the default virtual host, with its bindings. The next publish to it closes its channel
// (404).
func (n *Node) DeleteExchange(ctx context.Context, name string) error {
	return n.eval(ctx, "ok = rabbit_exchange:delete(%s, false, %s)", resource("exchange", name), actor)
}

// AddVhost makes a virtual host. Nobody may use it before SetPermissions.
func (n *Node) AddVhost(ctx context.Context, name string) error {
	return n.eval(ctx, "ok = rabbit_vhost:add(%s, %s)", quote(name), actor)
}

// DeleteVhost deletes a virtual host with all that is in it. Connections to it are closed (320, "vhost '...' is deleted"), and
// who dials it is refused (530).
func (n *Node) DeleteVhost(ctx context.Context, name string) error {
	return n.eval(ctx, "ok = rabbit_vhost:delete(%s, %s)", quote(name), actor)
}
