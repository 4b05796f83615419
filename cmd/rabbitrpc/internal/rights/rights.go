// Package rights says what RabbitMQ users need at least: clients, servers, and who declares for servers.
package rights

import (
	"regexp"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// Users are who is to get rights, by what they do. Each may be "", for nobody.
type Users struct {
	Client      string // calls the services
	PlainClient string // calls the server of the plain queue
	Server      string // serves the services, and the plain queue
	Provisioner string // declares for the server, which then needs no right to configure anything
}

// A Scope is what they get rights for, in one virtual host.
type Scope struct {
	Vhost    string
	Services []string
	Queue    string // plain; may be ""
}

// A Permission is what RabbitMQ calls so, as definitions have it: patterns for the names of queues and exchanges. A topic
// permission has an Exchange, patterns for routing keys, and no Configure.
type Permission struct {
	User      string  `json:"user"`
	Vhost     string  `json:"vhost"`
	Exchange  string  `json:"exchange,omitempty"`
	Configure *string `json:"configure,omitempty"`
	Write     string  `json:"write"`
	Read      string  `json:"read"`
}

// Grants are all permissions that users need, in the form in which RabbitMQ imports definitions.
type Grants struct {
	Permissions      []Permission `json:"permissions"`
	TopicPermissions []Permission `json:"topic_permissions"`
}

const (
	replyQueues     = `amq\.gen-.*` // the broker makes their names
	defaultExchange = `amq\.default`
)

// Of returns what users need for a scope, and nothing more.
func Of(u Users, s Scope) Grants {
	var g Grants
	declared := append([]string{wire.Exchange}, s.queues()...)
	declare := Permission{ // a queue with a dead letter exchange takes the right to read the one, and write the other; so does a binding
		Vhost: s.Vhost, Configure: pattern(quote(declared...)...), Write: *pattern(append(quote(s.serviceQueues()...), defaultExchange)...),
		Read: *pattern(quote(append([]string{wire.Exchange}, s.serviceQueues()...)...)...),
	}
	if u.Client != "" {
		g.add(u.Client, Permission{Vhost: s.Vhost, Configure: pattern(replyQueues), Write: *pattern(wire.Exchange), Read: *pattern(replyQueues)})
		var keys []string
		for _, service := range s.Services {
			keys = append(keys, wire.Key(service))
		}
		g.TopicPermissions = append(g.TopicPermissions, Permission{
			User: u.Client, Vhost: s.Vhost, Exchange: wire.Exchange, Write: *pattern(quote(keys...)...), Read: *pattern(),
		})
	}
	if u.PlainClient != "" {
		g.add(u.PlainClient, Permission{Vhost: s.Vhost, Configure: pattern(replyQueues), Write: *pattern(defaultExchange), Read: *pattern(replyQueues)})
	}
	if u.Server != "" {
		consumed := quote(s.consumed()...)
		serve := Permission{Vhost: s.Vhost, Configure: pattern(), Write: *pattern(defaultExchange), Read: *pattern(consumed...)}
		if u.Provisioner == "" {
			serve = declare
			serve.Read = *pattern(append(quote(wire.Exchange), consumed...)...)
		}
		g.add(u.Server, serve)
	}
	if u.Provisioner != "" {
		g.add(u.Provisioner, declare)
	}
	return g
}

func (g *Grants) add(user string, p Permission) {
	p.User = user
	g.Permissions = append(g.Permissions, p)
}

// queues returns all that are declared.
func (s *Scope) queues() (all []string) {
	for _, service := range s.Services {
		all = append(all, wire.Queue(service), wire.ParkedQueue(service))
	}
	return append(all, s.plain()...)
}

func (s *Scope) serviceQueues() (all []string) {
	for _, service := range s.Services {
		all = append(all, wire.Queue(service))
	}
	return all
}

// consumed returns the queues that servers read.
func (s *Scope) consumed() []string { return append(s.serviceQueues(), s.plain()...) }

func (s *Scope) plain() []string {
	if s.Queue == "" {
		return nil
	}
	return []string{s.Queue}
}

func quote(names ...string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	return quoted
}

// pattern matches names that match one of the alternatives as a whole; without any, no name.
func pattern(alternatives ...string) *string {
	p := "^" + strings.Join(alternatives, "|") + "$"
	if len(alternatives) > 1 {
		p = "^(" + strings.Join(alternatives, "|") + ")$"
	}
	return &p
}

// Commands returns rabbitmqctl's commands that give the users these permissions, for a shell. The users must be there.
func (g *Grants) Commands() []string {
	var all []string
	for _, p := range g.Permissions {
		all = append(all, command("set_permissions", "-p", p.Vhost, p.User, *p.Configure, p.Write, p.Read))
	}
	for _, p := range g.TopicPermissions {
		all = append(all, command("set_topic_permissions", "-p", p.Vhost, p.User, p.Exchange, p.Write, p.Read))
	}
	return all
}

func command(words ...string) string {
	line := "rabbitmqctl"
	for _, word := range words {
		if !plainWord.MatchString(word) {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		line += " " + word
	}
	return line
}

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[\w./-]+$`)
