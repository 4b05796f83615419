package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// reach checks the way to a broker: its name, TCP, TLS, the user, the virtual host. It returns a probe of it, or nil.
func (v *visit) reach(t *conn.Target) *conn.Probe {
	if v.check("address", func(ctx context.Context) Check { return resolve(ctx, t) }) != OK ||
		v.check("connect", func(ctx context.Context) Check { return connect(ctx, t) }) != OK {
		return nil
	}
	ctx, cancel := context.WithTimeout(v.ctx, v.Timeout)
	defer cancel()
	p, err := t.Probe(ctx)
	if _, refused := errors.AsType[*conn.Error](err); err != nil && !refused && !t.Secure && speaksTLS(ctx, t) {
		err = &conn.TLSError{Problem: "the broker speaks it on this port", Cure: "use amqps://, or the port for amqp://, usually 5672"}
	}
	for _, c := range handshake(t, p, err) {
		v.say(c.Name, c)
	}
	return p
}

// speaksTLS tries whether a port expects TLS, of whatever certificate: nothing is said to it but goodbye. RabbitMQ answers what
// is no TLS with an alert, a proxy in front of it may just hang up.
func speaksTLS(ctx context.Context, t *conn.Target) bool {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	c, err := d.DialContext(ctx, "tcp", address(t))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func address(t *conn.Target) string { return net.JoinHostPort(t.Host, strconv.Itoa(t.Port)) }

func resolve(ctx context.Context, t *conn.Target) Check {
	addrs, err := net.DefaultResolver.LookupHost(ctx, t.Host)
	if err != nil {
		return Check{Status: Problem, Text: err.Error(), Cure: "check the name in the URL, and the name servers of this host"}
	}
	return fine("%s is %s", t.Host, strings.Join(addrs, ", "))
}

func connect(ctx context.Context, t *conn.Target) Check {
	start := time.Now()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address(t))
	if err != nil {
		return Check{Status: Problem, Text: err.Error(), Cure: "is RabbitMQ running there? Check host and port of the URL, and firewalls on the way"}
	}
	c.Close()
	return fine("port %d takes connections, after %v", t.Port, time.Since(start).Round(time.Microsecond))
}

// handshake tells from how a dial has ended how far it got: TLS, then the user, then the virtual host.
func handshake(t *conn.Target, p *conn.Probe, err error) []Check {
	secure := named("TLS", checkTLS(t, p))
	var untrusted *conn.TLSError
	if errors.As(err, &untrusted) {
		text := untrusted.Problem
		if untrusted.Err != nil {
			text += ": " + untrusted.Err.Error()
		}
		return []Check{named("TLS", Check{Status: Problem, Text: text, Cure: untrusted.Cure})}
	}
	login := named("login", fine("user %s", t.User))
	vhost := named("virtual host", fine("%s", t.Vhost))
	if err == nil {
		return []Check{secure, login, vhost}
	}
	bad, atVhost := refusal(t, err)
	if !atVhost {
		return []Check{secure, named("login", bad)}
	}
	return []Check{secure, login, named("virtual host", bad)}
}

func named(name string, c Check) Check {
	c.Name = name
	return c
}

// refusal says why the broker does not let a user in, and whether that is for the virtual host's sake.
func refusal(t *conn.Target, err error) (bad Check, atVhost bool) {
	answer, ok := errors.AsType[*conn.Error](err)
	if !ok {
		return Check{Status: Problem, Text: err.Error(), Cure: "check host and port of the URL, and what the log of the broker says"}, false
	}
	bad = Check{Status: Problem, Text: answer.Error(), Cure: "see the broker's log"}
	has := func(text string) bool { return strings.Contains(answer.Reason, text) }
	switch {
	case has("SASL"):
		bad.Cure = "the broker does not offer the mechanism of auth_mechanism in the URL; EXTERNAL takes the plugin rabbitmq_auth_mechanism_ssl"
	case has("not found") && has("vhost"):
		bad.Cure = fmt.Sprintf("check the virtual host of the URL, percent-encoded; or make it: rabbitmqctl add_vhost %s", shell(t.Vhost))
		return bad, true
	case has("limit"):
		bad.Cure = "close connections, or raise the limit of the user or the virtual host: rabbitmqctl list_connections, set_user_limits, set_vhost_limits"
		return bad, true
	case has("is down"):
		bad.Cure = "see the broker's log, then rabbitmqctl restart_vhost"
		return bad, true
	case has("refused for user"):
		bad.Cure = fmt.Sprintf("give the user rights there: rabbitrpc topology permissions --vhost %s prints the commands", shell(t.Vhost))
		return bad, true
	case answer.Code == 403:
		bad.Text = fmt.Sprintf("the broker refuses user %s: %s", t.User, answer)
		bad.Cure = "check user and password, with reserved characters percent-encoded; guest may log in on the broker's own host only"
	}
	return bad, false
}

func shell(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// soon is how long before its end a certificate has to be renewed.
const soon = 14 * 24 * time.Hour

func checkTLS(t *conn.Target, p *conn.Probe) Check {
	if !t.Secure {
		if ip, err := netip.ParseAddr(t.Host); t.Host == "localhost" || err == nil && ip.IsLoopback() {
			return fine("none, and none is needed on this host")
		}
		return Check{Status: Warning, Text: "none: password and calls can be read on the way",
			Cure: "use amqps://, if the network is not a private one"}
	}
	if p == nil {
		return fine("the broker is trusted")
	}
	state := p.Broker.TLS
	leaf, ends := state.PeerCertificates[0], state.PeerCertificates[0].NotAfter
	for _, c := range state.PeerCertificates {
		if c.NotAfter.Before(ends) {
			ends = c.NotAfter
		}
	}
	text := fmt.Sprintf("%s, certificate for %s, valid until %s", tls.VersionName(state.Version), strings.Join(names(leaf), ", "), ends.UTC().Format(time.DateOnly))
	if time.Until(ends) < soon {
		return Check{Status: Warning, Text: text, Cure: "renew the broker's certificate: clients that dial after that day are not let in"}
	}
	return fine("%s", text)
}
