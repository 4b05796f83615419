package conn

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// DefaultURL is the URL of the environment: RABBITMQ_URL, else AMQP_URL, else a broker on this host with its default
// user.
func DefaultURL() string {
	for _, name := range [...]string{"RABBITMQ_URL", "AMQP_URL"} {
		if s := os.Getenv(name); s != "" {
			return s
		}
	}
	return "amqp://guest:guest@localhost:5672/"
}

// An endpoint is one URL of a broker. Its text form has no credentials.
type endpoint struct {
	url     string
	host    string
	timeout time.Duration // for a dial with its handshake; 0 for the defaults
}

func (e endpoint) String() string { return e.host }

// parseURLs splits a list of URLs at its commas and checks each of them. A comma inside a URL, say in a password, does
// no harm: only one that is followed by a scheme separates.
func parseURLs(list string) ([]endpoint, error) {
	var endpoints []endpoint
	for rest := strings.TrimSpace(list); rest != ""; {
		one := rest
		rest = ""
		for i := range one {
			if one[i] == ',' && hasScheme(strings.TrimSpace(one[i+1:])) {
				one, rest = strings.TrimSpace(one[:i]), strings.TrimSpace(one[i+1:])
				break
			}
		}
		e, err := parseURL(one)
		if err != nil {
			return nil, fmt.Errorf("URL %d: %w", len(endpoints)+1, err)
		}
		endpoints = append(endpoints, e)
	}
	if len(endpoints) == 0 {
		return nil, errors.New("no URL of a broker given, want amqp://user:password@host:port/vhost")
	}
	return endpoints, nil
}

func hasScheme(s string) bool {
	return strings.HasPrefix(s, "amqp://") || strings.HasPrefix(s, "amqps://")
}

// parseURL refuses a URL in words of its own: the errors of net/url quote what they could not read, and that may be a
// password.
func parseURL(s string) (endpoint, error) {
	if !hasScheme(s) {
		return endpoint{}, errors.New("must start with amqp:// or amqps://")
	}
	if _, err := url.Parse(s); err != nil || strings.ContainsAny(s, " \t\r\n") {
		return endpoint{}, errors.New("cannot be read; want amqp://user:password@host:port/vhost, with reserved characters" +
			" in user, password and vhost percent-encoded")
	}
	u, err := amqp.ParseURI(s)
	if err != nil {
		return endpoint{}, errors.New("has a bad port or query parameter; known are heartbeat, connection_timeout," +
			" channel_max, certfile, keyfile, cacertfile, server_name_indication, auth_mechanism")
	}
	host := u.Scheme + "://" + hostPort(u.Host, u.Port)
	if u.Vhost != "/" {
		host += "/" + url.PathEscape(u.Vhost)
	}
	return endpoint{url: s, host: host, timeout: time.Duration(u.ConnectionTimeout) * time.Millisecond}, nil
}
