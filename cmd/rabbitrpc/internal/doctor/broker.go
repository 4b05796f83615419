package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

const (
	oldestTried = 310 // RabbitMQ 3.10: the least with which all was tried
	maintained  = 400 // older ones get no fixes from their makers
)

// broker checks what is not of one service.
func (v *visit) broker(t *conn.Target) {
	b := &v.probe.Broker
	v.say("version", checkVersion(b))
	v.say("heartbeat", checkHeartbeat(b.Heartbeat))
	v.check("round trip", func(ctx context.Context) Check {
		d, err := v.probe.RoundTrip(ctx)
		switch {
		case err != nil:
			return failed(err)
		case d > 100*time.Millisecond:
			return Check{Status: Warning, Text: d.Round(time.Microsecond).String(), Cure: "a call takes two of them at least: bring client and broker nearer"}
		}
		return fine("%v", d.Round(time.Microsecond))
	})
	v.check("alarms", func(ctx context.Context) Check { return v.alarms(ctx, t) })
	v.say("clock", checkClock(b))
	v.say("limits", checkLimits(b))
}

// checkVersion looks for the versions that are known.
func checkVersion(b *conn.Broker) Check {
	text := strings.TrimSpace(b.Product + " " + b.Version)
	if b.Product != "RabbitMQ" {
		return Check{Status: Warning, Text: text, Cure: "this is not RabbitMQ: what was promised was tried with that only"}
	}
	switch v := number(b.Version); {
	case v < oldestTried:
		return Check{Status: Problem, Text: text + " is too old", Cure: "upgrade to 3.10 or later, best to the latest: calls to absent servers may not come back"}
	case v < maintained:
		return Check{Status: Warning, Text: text + " gets no fixes from its makers any more", Cure: "plan the upgrade to 4.x; your distribution may care for it until then"}
	}
	return fine("%s", text)
}

// number makes 310 of 3.10.8, and 0 of what is no version.
func number(version string) int {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(minor)
	if errX != nil || errY != nil {
		return 0
	}
	return 100*x + y
}

func checkHeartbeat(d time.Duration) Check {
	switch {
	case d == 0:
		return Check{Status: Warning, Text: "none: a dead connection is noticed late, or never", Cure: "set heartbeat=10 in the URL, and leave the broker's at its default"}
	case d > time.Minute:
		return Check{Status: Warning, Text: fmt.Sprintf("%v: a dead connection is noticed after %v", d, d*3/2), Cure: "set heartbeat=10 in the URL"}
	}
	return fine("%v: a dead connection is noticed after %v", d, d*3/2)
}

// alarms asks on a connection of its own, which is of no use afterwards.
func (v *visit) alarms(ctx context.Context, t *conn.Target) Check {
	p, err := t.Probe(ctx)
	if err != nil {
		return failed(err)
	}
	defer p.Close()
	reason, err := p.Blocked(ctx)
	switch {
	case err != nil:
		return failed(err)
	case reason == "":
		return fine("none: the broker takes messages")
	}
	v.blocked = true
	return Check{Status: Problem, Text: "the broker takes no messages: " + reason,
		Cure: "free what is low, memory or disk, or raise the limit; rabbitmq-diagnostics alarms tells which node it is"}
}

// checkClock says what clocks are good for. The broker's cannot be asked for, and need not be: no time crosses the wire but
// durations.
func checkClock(b *conn.Broker) Check {
	if b.TLS == nil {
		return fine("no two clocks are compared: timeouts are sent as durations")
	}
	leaf := b.TLS.PeerCertificates[0]
	return fine("certificates are the only thing that depends on it: this one is valid from %s to %s",
		leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime))
}

// leastChannels is what a session needs: two to publish, one to declare, and one for each consumer, of which a server of a
// plain queue has two.
const leastChannels = 8

func checkLimits(b *conn.Broker) Check {
	message := "16 MiB"
	if number(b.Version) < 400 {
		message = "128 MiB"
	}
	text := fmt.Sprintf("%d channels in a connection, frames of %d bytes, messages of %s unless the broker's max_message_size says otherwise",
		b.Channels, b.Frame, message)
	if b.Channels < leastChannels {
		return Check{Status: Problem, Text: text, Cure: fmt.Sprintf("allow %d channels or more: channel_max of the broker, or of the URL", leastChannels)}
	}
	return fine("%s", text)
}

// connections opens a session, as every program does, and reports whether there is one.
func (v *visit) connections(m *conn.Manager) bool {
	return v.check("session", func(ctx context.Context) Check {
		_, err := m.Session(ctx)
		if err == nil {
			return fine("two connections, as each program has")
		}
		bad, _ := refusal(&conn.Target{User: v.user}, err)
		return bad
	}) == OK
}

// names returns the hosts that a certificate is for.
func names(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
