package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/otlp"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// LogOff is the level at which nothing is logged.
const LogOff = "off"

// The formats of the log.
const (
	FormatAuto = "auto" // for people on a terminal, else JSON
	FormatJSON = "json"
	FormatText = "text"
)

var (
	levels  = []string{"debug", "info", "warn", "error", LogOff}
	formats = []string{FormatAuto, FormatJSON, FormatText}
)

// A checker collects what is wrong.
type checker []*KeyError

func (c *checker) add(key, format string, args ...any) {
	*c = append(*c, &KeyError{Key: key, Problem: fmt.Sprintf(format, args...)})
}

// err adds what a part of the program says of its part of a configuration at path.
func (c *checker) err(path string, err error) {
	if e, ok := errors.AsType[*KeyError](err); ok {
		c.add(join(path, e.Key), "%s", e.Problem)
	} else if err != nil {
		c.add(path, "%s", err)
	}
}

func (c *checker) oneOf(key, got string, names []string) {
	if !slices.Contains(names, got) {
		c.add(key, "must be %s or %s, got %q", strings.Join(names[:len(names)-1], ", "), names[len(names)-1], got)
	}
}

// check looks for all that can be wrong with what could be read.
func (l *Loaded) check() Errors {
	var c checker
	l.Broker.check(&c)
	c.oneOf("log.level", l.Log.Level, levels)
	c.oneOf("log.format", l.Log.Format, formats)
	l.Admin.check(&c)
	if !(l.Tracing.Sample >= 0 && l.Tracing.Sample <= 1) { // nor NaN
		c.add("tracing.sample", "must be 0 to 1, got %v", l.Tracing.Sample)
	}
	if l.Tracing.Endpoint != "" {
		c.err("tracing.endpoint", otlp.Check(string(l.Tracing.Endpoint)))
	}
	c.err("gateway", l.Gateway.Check())
	if len(l.Services) == 0 && !l.noServices {
		c.add("services", "there is none; rabbitrpc config example shows some")
	}
	l.checkServices(&c)
	return l.sources.of(c)
}

func (b *Broker) check(c *checker) {
	if err := conn.CheckURL(string(b.URL)); err != nil {
		c.add("broker.url", "%s", err)
	}
	if len(b.Name) > 200 {
		c.add("broker.name", "must have at most 200 bytes, got %d", len(b.Name))
	}
	switch {
	case b.CredentialsFile != "" && (b.Username != "" || b.PasswordFile != ""):
		c.add("broker.credentials_file", "has user and password: leave out username and password_file")
	case (b.Username == "") != (b.PasswordFile == ""):
		c.add("broker.username", "goes with broker.password_file: want both, or neither")
	default:
		_, _, err := b.Credentials()
		c.err("broker", err)
	}
	if b.TLS != (TLS{}) && !strings.Contains(string(b.URL), "amqps://") {
		c.add("broker.tls", "is for URLs that begin with amqps://, and broker.url has none")
	}
	_, err := b.TLS.Config()
	c.err("broker.tls", err)
}

func (l *Loaded) checkServices(c *checker) {
	names, queues, files := make(map[string]int), make(map[string]int), make(map[string]int)
	for i := range l.Services {
		s, path := &l.Services[i], fmt.Sprintf("services[%d]", i)
		if s.Name == "" {
			c.add(path+".name", "is missing")
			continue
		}
		c.once(names, s.Name, i, path+".name", "is the name of services[%d], too")
		c.once(queues, s.Queue, i, path+".queue", "is served by services[%d] already: set it for one of them")
		c.err(path, s.Own.Check())
		s.Dedupe.check(c, path+".dedupe")
		if s.Dedupe.Path != "" {
			c.once(files, filepath.Clean(s.Dedupe.Path), i, path+".dedupe.path", "is the file of services[%d]: each needs its own")
		}
		s.check(c, path)
	}
}

// once adds an error if one of the services before has the same value.
func (c *checker) once(seen map[string]int, value string, i int, key, problem string) {
	if other, taken := seen[value]; taken && value != "" {
		c.add(key, problem, other)
		return
	}
	seen[value] = i
}

// check asks the server, option by option, which one it does not take.
func (s *Service) check(c *checker, path string) {
	if _, err := server.New(nil, s.Name); err != nil {
		c.add(path+".name", "%s", err)
		return
	}
	opts, err := s.options()
	if err != nil {
		c.err(path, err)
		return
	}
	var together []server.Option
	for _, o := range opts {
		if _, err := server.New(nil, s.Name, append(slices.Clone(together), o.set)...); err != nil {
			c.add(join(path, o.key), "%s", err)
			continue
		}
		together = append(together, o.set)
	}
}
