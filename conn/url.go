package conn

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
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
	uri     amqp.URI // what is in it
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

// CheckURL returns the error with which [Open] would refuse a URL, or a list of them, at once.
func CheckURL(url string) error {
	_, err := parseURLs(url)
	return err
}

func hasScheme(s string) bool {
	return strings.HasPrefix(s, "amqp://") || strings.HasPrefix(s, "amqps://")
}

// parameters are those of https://www.rabbitmq.com/docs/uri-query-parameters that are obeyed.
var parameters = []string{
	"heartbeat", "connection_timeout", "channel_max", "certfile", "keyfile", "cacertfile", "server_name_indication", "auth_mechanism",
}

// parseURL refuses a URL in words of its own: the errors of net/url quote what they could not read, and that may be a
// password.
func parseURL(s string) (endpoint, error) {
	if !hasScheme(s) {
		return endpoint{}, errors.New("must start with amqp:// or amqps://")
	}
	parsed, err := url.Parse(s)
	if err != nil || strings.ContainsAny(s, " \t\r\n") {
		return endpoint{}, errors.New("cannot be read; want amqp://user:password@host:port/vhost, with reserved characters" +
			" in user, password and vhost percent-encoded")
	}
	u, err := amqp.ParseURI(s)
	bad := err != nil || u.Port < 1 || u.Port > 65535 || u.ConnectionTimeout < 0
	for name := range parsed.Query() {
		bad = bad || !slices.Contains(parameters, name) // a heartbeats=1 that does nothing would be found out too late
	}
	if bad {
		return endpoint{}, fmt.Errorf("has a bad port or query parameter; known are %s", strings.Join(parameters, ", "))
	}
	if err := checkFiles(&u); err != nil {
		return endpoint{}, err
	}
	host := u.Scheme + "://" + hostPort(u.Host, u.Port)
	if u.Vhost != "/" {
		host += "/" + url.PathEscape(u.Vhost)
	}
	return endpoint{url: s, uri: u, host: host, timeout: time.Duration(u.ConnectionTimeout) * time.Millisecond}, nil
}

// checkFiles refuses what looks like TLS and would be none.
func checkFiles(u *amqp.URI) error {
	switch {
	case (u.CertFile == "") != (u.KeyFile == ""):
		return errors.New("has one of certfile and keyfile: a client's certificate needs both")
	case u.Scheme == "amqp" && (u.CACertFile != "" || u.CertFile != ""):
		return errors.New("names files for TLS, and amqp:// is not encrypted: use amqps://")
	}
	return nil
}
