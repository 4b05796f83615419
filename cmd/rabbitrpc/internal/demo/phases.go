package demo

import (
	"context"
	"slices"
	"time"
)

const (
	calm      = 2 * time.Second // of nothing but calls
	fewSlow   = 8
	bootLimit = time.Minute
)

// calls lets the callers call.
func (d *demo) calls(ctx context.Context) error {
	d.say("%d callers start", callers)
	return pause(ctx, calm)
}

// killServer kills the server that runs more calls.
func (d *demo) killServer(ctx context.Context) error {
	slow, err := d.startSlow(ctx, fewSlow)
	if err != nil {
		return err
	}
	victim := slices.MaxFunc(d.servers, func(a, b *process) int { return slow.at(a.name) - slow.at(b.name) })
	lost := slow.at(victim.name)
	victim.kill()
	killed := time.Now()
	d.say("%s is killed (SIGKILL) in the middle of %s of a second each", victim.name, plural(lost, "call"))
	slow.finish(d)
	moved := 0
	for n, reply := range slow.replies {
		if reply != nil && slow.ran[n][0] == victim.name && reply.Server != victim.name {
			moved++
		}
	}
	d.say("the other server has answered %d of these %d, %.1fs after the kill", moved, lost, time.Since(killed).Seconds())
	return nil
}

// newServer starts a server beside the one that is left.
func (d *demo) newServer(ctx context.Context) error {
	added, err := d.addServer(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, calm/2); err != nil {
		return err
	}
	d.say("%s has answered %s so far", added.name, plural(d.load.answeredBy(added.name), "call"))
	return nil
}

// killBroker kills the broker while both servers run calls: they finish them, and cannot say so.
func (d *demo) killBroker(ctx context.Context) error {
	slow, err := d.startSlow(ctx, callers)
	if err != nil {
		return err
	}
	if err := d.node.Kill(); err != nil {
		return err
	}
	killed := time.Now()
	d.say("RabbitMQ is killed (SIGKILL: harder than a restart); %s run now, and their replies have no way back",
		plural(len(slow.replies), "call"))
	d.say("RabbitMQ is started again")
	boot, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	if err := d.node.Start(boot); err != nil {
		return err
	}
	d.say("RabbitMQ runs again, %.1fs after the kill", time.Since(killed).Seconds())
	slow.finish(d)
	replayed := 0
	for _, reply := range slow.replies {
		if reply != nil && reply.Replayed {
			replayed++
		}
	}
	d.say("all calls are answered, %.1fs after the kill", time.Since(killed).Seconds())
	d.say("of those %d, %d got the reply that their server had kept; %d ran again at the other server, which could not know",
		len(slow.replies), replayed, slow.twice())
	return pause(ctx, calm/2)
}
