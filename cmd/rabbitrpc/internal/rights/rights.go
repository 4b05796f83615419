// Package rights says what RabbitMQ users need at least: clients, servers, and who declares for servers.
package rights

import (
	"regexp"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// Users are who is to get rights, by what they do. Each may be "", for nobody.
type Users struct {
	Client      string // calls the services, and asks which instances of them there are
	PlainClient string // calls the server of the plain queue
	Observer    string // asks which instances of all services there are
	Server      string // serves the services, and the plain queue
	Provisioner string // declares for the server, which then may configure nothing but queues for discovery
}

// A Scope is what they get rights for, in one virtual host.
type Scope struct {
	Vhost     string
	Services  []string
	Queue     string // plain; may be ""
	Discovery bool   // instances of the services may be asked for
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

// Of returns what users need for a scope, and nothing more.
func Of(u Users, s Scope) Grants {
	g := Grants{TopicPermissions: []Permission{}} // and no null, which RabbitMQ may not import
	if u.Client != "" {
		g.add(u.Client, s.Vhost, s.call().and(s.ask()))
	}
	if u.PlainClient != "" {
		g.add(u.PlainClient, s.Vhost, callPlain)
	}
	if u.Observer != "" {
		g.add(u.Observer, s.Vhost, observe)
	}
	if u.Server != "" {
		serve := s.serve().and(s.beDiscovered())
		if u.Provisioner == "" {
			serve = s.declare().and(serve)
		}
		g.add(u.Server, s.Vhost, serve)
	}
	if u.Provisioner != "" {
		g.add(u.Provisioner, s.Vhost, s.declare())
	}
	return g
}

// add gives a user what it needs. Who has to do with the exchange for discovery may use no topics but these: to bind a queue takes
// the right to read its topic.
func (g *Grants) add(user, vhost string, n needs) {
	configure := pattern(n.configure)
	g.Permissions = append(g.Permissions, Permission{
		User: user, Vhost: vhost, Configure: &configure, Write: pattern(n.write), Read: pattern(n.read),
	})
	if len(n.writeTopics)+len(n.readTopics) > 0 {
		g.TopicPermissions = append(g.TopicPermissions, Permission{
			User: user, Vhost: vhost, Exchange: wire.DiscoveryExchange, Write: pattern(n.writeTopics), Read: pattern(n.readTopics),
		})
	}
}

// pattern matches names that match one of the alternatives as a whole; without any, no name.
func pattern(alternatives []string) string {
	p := strings.Join(alternatives, "|")
	if len(alternatives) > 1 {
		p = "(" + p + ")"
	}
	return "^" + p + "$"
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
