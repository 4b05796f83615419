package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

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
	stores  = []string{StoreNone, StoreLRU, StoreBolt, StorePostgres}
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

func (c *checker) address(key, got string) {
	_, port, err := net.SplitHostPort(got)
	if n, bad := strconv.Atoi(port); got != "" && (err != nil || bad != nil || n < 0 || n > 65535) {
		c.add(key, "must be a host and a port, as in 127.0.0.1:9090, got %q", got)
	}
}

// check looks for all that can be wrong with what could be read.
func (l *Loaded) check() Errors {
	var c checker
	l.Broker.check(&c)
	c.oneOf("log.level", l.Log.Level, levels)
	c.oneOf("log.format", l.Log.Format, formats)
	c.address("admin.listen", l.Admin.Listen)
	if l.Tracing.Sample < 0 || l.Tracing.Sample > 1 {
		c.add("tracing.sample", "must be 0 to 1, got %v", l.Tracing.Sample)
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
	names, files := make(map[string]int), make(map[string]int)
	for i := range l.Services {
		s, path := &l.Services[i], fmt.Sprintf("services[%d]", i)
		if s.Name == "" {
			c.add(path+".name", "is missing")
			continue
		}
		if other, taken := names[s.Name]; taken {
			c.add(path+".name", "%s is the name of services[%d], too", s.Name, other)
		}
		names[s.Name] = i
		c.err(path, s.Own.Check())
		s.Dedupe.check(c, path+".dedupe")
		if other, taken := files[s.Dedupe.Path]; taken && s.Dedupe.Store == StoreBolt {
			c.add(path+".dedupe.path", "services[%d] has the same file: each needs its own", other)
		}
		files[s.Dedupe.Path] = i
		s.check(c, path)
	}
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

// check looks for keys that the store does not have.
func (d *Dedupe) check(c *checker, path string) {
	c.oneOf(path+".store", d.Store, stores)
	for _, k := range []struct {
		key    string
		given  bool
		stores string
	}{
		{"entries", d.Entries != 0, "lru bolt"},
		{"bytes", d.Bytes != 0, "lru bolt"},
		{"min_age", d.MinAge != 0, "lru bolt"},
		{"max_age", d.MaxAge != 0, "lru bolt"},
		{"tenant_share", d.TenantShare != 0, "lru"},
		{"path", d.Path != "", "bolt"},
		{"url", d.URL != "", "postgres"},
		{"schema", d.Schema != "", "postgres"},
		{"connections", d.Connections != 0, "postgres"},
		{"lease", d.Lease != 0, "postgres"},
		{"retention", d.Retention != 0, "postgres"},
	} {
		if of := strings.Fields(k.stores); k.given && slices.Contains(stores, d.Store) && !slices.Contains(of, d.Store) {
			c.add(join(path, k.key), "is for the store %s, and this is %s", strings.Join(of, " or "), d.Store)
		}
	}
	switch {
	case d.Store == StoreBolt && d.Path == "":
		c.add(path+".path", "is missing: the store bolt needs a file, such as /var/lib/rabbitrpc/calls.db")
	case d.Store == StorePostgres && d.URL == "":
		c.add(path+".url", "is missing: the store postgres needs one, such as postgres://user@host/database")
	case d.Store == StoreLRU:
		if _, err := d.LRU(); err != nil {
			c.add(path, "%s", err)
		}
	}
}
