package chaos

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// An Inventory is what there is in a broker, or in a cluster as a whole. Two of them, before and after, show what was left
// behind.
type Inventory struct {
	Connections, Channels, Consumers int

	// Queues says of each queue how many messages are in it, waiting and unacknowledged. The name of a queue that is not in
	// the default virtual host has that of its own and a slash before it.
	Queues map[string]int
}

// Its first line counts connections, channels and consumers; each other has the messages of a queue, and its name.
const takeInventory = `
Queues = lists:append([[{V, Q} || Q <- rabbit_amqqueue:info_all(V, [name, messages, consumers])] || V <- rabbit_vhost:list_names()]),
Count = fun(Key, Q) -> case proplists:get_value(Key, Q) of N when is_integer(N) -> N; _ -> 0 end end,
io:format("~b ~b ~b~n", [length(rabbit_networking:connections()), length(rabbit_channel:list()),
	lists:sum([Count(consumers, Q) || {_, Q} <- Queues])]),
[begin
	{resource, _, queue, Name} = proplists:get_value(name, Q),
	In = case V of <<"/">> -> <<>>; _ -> <<V/binary, "/">> end,
	io:format("~b ~ts~ts~n", [Count(messages, Q), In, Name])
end || {V, Q} <- Queues], ok.`

// Inventory counts what there is. What a client has just closed may still be in it, and what is said of a quorum queue is up
// to a second old.
func (n *Node) Inventory(ctx context.Context) (Inventory, error) {
	out, err := n.Ctl(ctx, "eval", takeInventory)
	if err != nil {
		return Inventory{}, fmt.Errorf("take inventory: %w", err)
	}
	in := Inventory{Queues: make(map[string]int)}
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Scan()
	if _, err := fmt.Sscan(lines.Text(), &in.Connections, &in.Channels, &in.Consumers); err != nil {
		return Inventory{}, fmt.Errorf("take inventory: read %q: %w", lines.Text(), err)
	}
	for lines.Scan() {
		var messages int
		if count, name, ok := strings.Cut(lines.Text(), " "); ok { // the last line is the value of it all
			if _, err := fmt.Sscan(count, &messages); err != nil {
				return Inventory{}, fmt.Errorf("take inventory: read %q: %w", lines.Text(), err)
			}
			in.Queues[name] = messages
		}
	}
	return in, nil
}
