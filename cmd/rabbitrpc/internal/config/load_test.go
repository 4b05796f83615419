package config_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// steps is a kind of service with a section of its own, for tests.
type steps struct {
	Pool    int             `koanf:"pool"`
	StepMap map[string]step `koanf:"methods"`

	made bool // no key
}

type step struct {
	Command []string      `koanf:"command"`
	Limit   time.Duration `koanf:"limit"`
}

func (s *steps) Check() error {
	s.made = true
	for name, m := range s.StepMap {
		if len(m.Command) == 0 {
			return &config.KeyError{Key: "methods." + name + ".command", Problem: "is missing"}
		}
	}
	return nil
}

func (s *steps) Methods() (names []string) {
	for name := range s.StepMap {
		names = append(names, name)
	}
	return names
}

func (s *steps) Serve(*server.Server, *slog.Logger) (func(), error) { return func() {}, nil }

// plain is a kind with nothing of its own.
type plain struct{}

func (*plain) Check() error                                       { return nil }
func (*plain) Methods() []string                                  { return []string{"fib"} }
func (*plain) Serve(*server.Server, *slog.Logger) (func(), error) { return func() {}, nil }

var kinds = config.Kinds{
	"math":  func() config.Kind { return new(plain) },
	"echo":  func() config.Kind { return new(plain) },
	"steps": func() config.Kind { return new(steps) },
}

// file writes a configuration and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string, environ ...string) (*config.Loaded, error) {
	t.Helper()
	return config.Load(config.Input{File: file(t, "c.yaml", text), Environ: environ, Kinds: kinds})
}

func TestOrder(t *testing.T) {
	in := config.Input{
		File:    file(t, "c.yaml", "log: {level: warn, format: json}\nbroker: {name: a}\nservices: [{name: m, kind: math, workers: 3, drain: 1m}]"),
		Environ: []string{"RABBITRPC_LOG_LEVEL=error", "RABBITRPC_BROKER_NAME=b", "AMQP_URL=amqp://x", "RABBITMQ_URL=amqp://y", "HOME=/"},
		Flags:   map[string]string{"log.level": "debug", "services.workers": "7"},
		Kinds:   kinds,
	}
	c, err := config.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Log.Level, c.Log.Format, c.Broker.Name, string(c.Broker.URL), c.Services[0].Workers, c.Services[0].Drain, c.Services[0].Timeout)
	if want := fmt.Sprint("debug", "json", "b", "amqp://y", 7, time.Minute, 30*time.Second); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var shown strings.Builder
	if err := c.Show(&shown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"level: debug # flag --log-level", "format: json # file " + in.File, "name: b # environment RABBITRPC_BROKER_NAME",
		"url: amqp://y # environment RABBITMQ_URL", "workers: 7 # flag --workers", "drain: 1m0s # file", "timeout: 30s # default",
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("not shown: %s\n%s", want, shown.String())
		}
	}
}

func TestNoFile(t *testing.T) {
	c, err := config.Load(config.Input{Flags: map[string]string{"services.queue": "rpc_queue"}, Kinds: kinds})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Services; len(s) != 1 || s[0].Name != "math" || s[0].Queue != "rpc_queue" || s[0].Workers != 16 {
		t.Errorf("got %+v, want the service math", s)
	}
}

func TestWrong(t *testing.T) {
	const m = "\nservices: [{name: m, kind: math}]"
	for name, tt := range map[string]struct {
		text    string
		environ string
		want    string // without the path of the file, where FILE stands
	}{
		"unknown section":          {"servces: []" + m, "", "FILE: unknown key servces: did you mean services?"},
		"unknown key":              {"log: {levle: info}" + m, "", "FILE: unknown key log.levle: did you mean level?"},
		"case":                     {"log: {Level: info}" + m, "", "FILE: unknown key log.Level: did you mean level?"},
		"far from any":             {"log: {qqqqq: info}" + m, "", "FILE: unknown key log.qqqqq: known are format, level"},
		"in a service":             {"services: [{nmae: m, kind: math}]", "", "FILE: unknown key services[0].nmae: did you mean name?"},
		"deep in a service":        {"services: [{name: m, kind: math, dedupe: {stor: lru}}]", "", "FILE: unknown key services[0].dedupe.stor: did you mean store?"},
		"of a kind":                {"services: [{name: m, kind: steps, pol: 1}]", "", "FILE: unknown key services[0].pol: did you mean pool?"},
		"in a method":              {"services: [{name: m, kind: steps, methods: {go: {comand: [a]}}}]", "", "FILE: unknown key services[0].methods.go.comand: did you mean command?"},
		"of another kind":          {"services: [{name: m, kind: math, methods: {}}]", "", "FILE: unknown key services[0].methods: known are"},
		"unknown kind":             {"services: [{name: m, kind: maths}]", "", `FILE: services[0].kind: "maths" is no kind of service; did you mean math?`},
		"no kind":                  {"services: [{name: m}]", "", "FILE: services[0].kind: is missing; known are echo, math, steps"},
		"no name":                  {"services: [{kind: math}]", "", "FILE: services[0].name: is missing"},
		"no services":              {"log: {level: info}", "", "FILE: services: there is none"},
		"services no list":         {"services: {name: m}", "", "FILE: services: want a list"},
		"service no map":           {"services: [math]", "", "FILE: services[0]: want keys and values"},
		"section no map":           {"log: info" + m, "", "FILE: log: want keys and values below it"},
		"no number":                {"services: [{name: m, kind: math, workers: many}]", "", "FILE: services[0].workers: want a whole number"},
		"half a worker":            {"services: [{name: m, kind: math, workers: 1.5}]", "", "FILE: services[0].workers: want a whole number, got 1.5"},
		"no unit":                  {"services: [{name: m, kind: math, drain: 30}]", "", "FILE: services[0].drain: want a time with its unit"},
		"no time":                  {"services: [{name: m, kind: math, drain: soon}]", "", "FILE: services[0].drain: want a time with its unit"},
		"no truth":                 {"services: [{name: m, kind: math, fail_fast: 2}]", "", "FILE: services[0].fail_fast: want true or false"},
		"long version":             {"services: [{name: m, kind: math, version: " + strings.Repeat("9.", 128) + "}]", "", "FILE: services[0].version: version must have at most 255 bytes, got 256"},
		"truth for text":           {"services: [{name: yes, kind: math, user: true}]", "", "FILE: services[0].user: want text, got a truth value"},
		"list for text":            {"broker: {url: [amqp://a:topsecret@b]}" + m, "", "FILE: broker.url: want text, got a list"},
		"text for list":            {"services: [{name: m, kind: steps, methods: {go: {command: ls -l}}}]", "", "FILE: services[0].methods.go.command: want a list"},
		"workers":                  {"services: [{name: m, kind: math, workers: 0}]", "", "FILE: services[0].workers: workers must be 1 to 10000, got 0"},
		"quorum":                   {"services: [{name: m, kind: math, quorum: -1}]", "", "FILE: services[0].quorum: delivery limit must be"},
		"adaptive over workers":    {"services: [{name: m, kind: math, workers: 2, adaptive_limit: 3}]", "", "FILE: services[0].adaptive_limit: least adaptive limit must be 1 to 2"},
		"limits":                   {"services: [{name: m, kind: math, limits: {headers: 1}}]", "", "FILE: services[0].limits: server.Limits.Headers must be"},
		"name of a service":        {"services: [{name: a.b, kind: math}]", "", "FILE: services[0].name: service name"},
		"name twice":               {"services: [{name: m, kind: math}, {name: m, kind: echo}]", "", "FILE: services[1].name: is the name of services[0], too"},
		"own check":                {"services: [{name: m, kind: steps, methods: {go: {}}}]", "", "FILE: services[0].methods.go.command: is missing"},
		"queue without a method":   {"services: [{name: m, kind: steps, queue: q, methods: {a: {command: [a]}, b: {command: [b]}}}]", "", "FILE: services[0].queue_method: must be the method"},
		"pattern":                  {"services: [{name: m, kind: math, queue: q, reply_to: '('}]", "", "FILE: services[0].reply_to: must be a regular expression"},
		"pattern without a queue":  {"services: [{name: m, kind: math, reply_to: 'a'}]", "", "FILE: services[0].reply_to: WithReplyTo is for the callers of a plain queue"},
		"store":                    {"services: [{name: m, kind: math, dedupe: {store: redis}}]", "", `FILE: services[0].dedupe.store: must be none, lru, bolt or postgres, got "redis"`},
		"bolt without a file":      {"services: [{name: m, kind: math, dedupe: {store: bolt}}]", "", "FILE: services[0].dedupe.path: is missing"},
		"postgres without a URL":   {"services: [{name: m, kind: math, dedupe: {store: postgres}}]", "", "FILE: services[0].dedupe.url: is missing"},
		"key of another store":     {"services: [{name: m, kind: math, dedupe: {path: x}}]", "", "FILE: services[0].dedupe.path: is for the store bolt, and this is lru"},
		"LRU upside down":          {"services: [{name: m, kind: math, dedupe: {min_age: 1h}}]", "", "FILE: services[0].dedupe: idempotency: minimum age"},
		"bolt upside down":         {"services: [{name: m, kind: math, dedupe: {store: bolt, path: x, min_age: 48h}}]", "", "FILE: services[0].dedupe: bolt: minimum age"},
		"postgres":                 {"services: [{name: m, kind: math, dedupe: {store: postgres, url: 'postgres://a:topsecret@h:port'}}]", "", "FILE: services[0].dedupe: postgres: the URL cannot be read"},
		"a lease too short":        {"services: [{name: m, kind: math, dedupe: {store: postgres, url: 'postgres://a', lease: 1ms}}]", "", "FILE: services[0].dedupe: postgres: lease must be"},
		"one queue for two":        {"services: [{name: a, kind: math, queue: x}, {name: b, kind: math, queue: x}]", "", "FILE: services[1].queue: is served by services[0] already"},
		"one file for two":         {"services: [{name: a, kind: math, dedupe: {store: bolt, path: x}}, {name: b, kind: math, dedupe: {store: bolt, path: x}}]", "", "FILE: services[1].dedupe.path: is the file of services[0]"},
		"one file by two names":    {"services: [{name: a, kind: math, dedupe: {store: bolt, path: x}}, {name: b, kind: math, dedupe: {store: bolt, path: ./y/../x}}]", "", "FILE: services[1].dedupe.path: is the file of services[0]"},
		"broker":                   {"broker: {url: 'http://a:topsecret@b'}" + m, "", "FILE: broker.url: URL 1: must start with amqp:// or amqps://"},
		"user without a password":  {"broker: {username: a}" + m, "", "FILE: broker.username: goes with broker.password_file"},
		"two ways to log in":       {"broker: {username: a, credentials_file: b}" + m, "", "FILE: broker.credentials_file: has user and password"},
		"no password file":         {"broker: {username: a, password_file: /nowhere}" + m, "", "FILE: broker.password_file: cannot be read: open /nowhere"},
		"endless password file":    {"broker: {username: a, password_file: /dev/zero}" + m, "", "FILE: broker.password_file: /dev/zero must have one line"},
		"TLS without TLS":          {"broker: {tls: {server_name: a}}" + m, "", "FILE: broker.tls: is for URLs that begin with amqps://"},
		"no CA":                    {"broker: {url: 'amqps://a', tls: {ca_file: /nowhere}}" + m, "", "FILE: broker.tls.ca_file: cannot be read"},
		"endless CA":               {"broker: {url: 'amqps://a', tls: {ca_file: /dev/zero}}" + m, "", "FILE: broker.tls.ca_file: /dev/zero has more than 1048576 bytes"},
		"half a certificate":       {"broker: {url: 'amqps://a', tls: {cert_file: /nowhere}}" + m, "", "FILE: broker.tls.cert_file: goes with key_file"},
		"level":                    {"log: {level: loud}" + m, "", `FILE: log.level: must be debug, info, warn, error or off, got "loud"`},
		"listen":                   {"admin: {listen: here}" + m, "", `FILE: admin.listen: must be an address and a port, such as 127.0.0.1:9672`},
		"listen to all":            {"admin: {listen: ':9672'}" + m, "", "FILE: admin.listen: :9672 can be reached from other hosts: set a token"},
		"no token":                 {"admin: {listen: ':9672', token_file: /nowhere}" + m, "", "FILE: admin.token_file: cannot be read: open /nowhere"},
		"token of two lines":       {"admin: {listen: ':9672', token_file: /etc/passwd}" + m, "", "FILE: admin.token_file: /etc/passwd must have one line"},
		"endpoint":                 {"tracing: {endpoint: 'localhost:4318'}" + m, "", "FILE: tracing.endpoint: endpoint for traces must be a URL such as http://localhost:4318"},
		"password of an endpoint":  {"tracing: {endpoint: 'http://a:topsecret@b'}" + m, "", "FILE: tracing.endpoint: endpoint for traces must not have a password"},
		"sample":                   {"tracing: {sample: 2}" + m, "", `FILE: tracing.sample: must be 0 to 1, got 2`},
		"sample that is no number": {"tracing: {sample: .nan}" + m, "", `FILE: tracing.sample: must be 0 to 1, got NaN`},
		"second document":          {m + "\n---\nlog: {level: loud}", "", "FILE: has more than one document, and the first alone would be read"},
		"key with dots":            {"broker.url: amqp://b" + m, "RABBITMQ_URL=amqp://b", "FILE: unknown key broker.url: did you mean url?"},
		"YAML":                     {"log: [\n", "", "FILE: yaml: line 1"},
		"no keys":                  {"topsecret\n", "", "FILE: want keys and values"},
		"value of another type":    {"broker: {url: !!int topsecret}" + m, "", "FILE: yaml: cannot decode !!str it as a !!int"},
		"value like an anchor":     {"broker: {url: *topsecret }" + m, "", "FILE: a value that begins with * must be in quotes"},
		"key twice":                {"log: {}\nlog: {}", "", "already defined at line 1"},
		"variable below no map":    {"log: topsecret" + m, "RABBITRPC_LOG_LEVEL=info", "FILE: log: want keys and values below it"},
		"a variable":               {m, "RABBITRPC_LOG_LEVLE=info", "unknown variable RABBITRPC_LOG_LEVLE: did you mean RABBITRPC_LOG_LEVEL?"},
		"a variable of a list":     {m, "RABBITRPC_SERVICES_0_NAME=a", "unknown variable RABBITRPC_SERVICES_0_NAME: services are set in the file"},
		"value of a variable":      {m, "RABBITRPC_TRACING_SAMPLE=half", "RABBITRPC_TRACING_SAMPLE: want a number"},
		"level in a variable":      {m, "RABBITRPC_LOG_LEVEL=loud", "RABBITRPC_LOG_LEVEL: must be"},
		"URL in a variable":        {m, "RABBITMQ_URL=amqp://a:topsecret@b:port", "RABBITMQ_URL: URL 1:"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "c.yaml", tt.text)
			_, err := config.Load(config.Input{File: path, Environ: []string{tt.environ}, Kinds: kinds})
			if err == nil {
				t.Fatalf("no error, want %s", tt.want)
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE")
			if !strings.Contains(got, tt.want) || strings.Contains(got, "\n") || strings.Contains(got, "topsecret") {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestAllAtOnce: who has made three mistakes is told of three.
func TestAllAtOnce(t *testing.T) {
	_, err := load(t, "log: {levle: a}\nservices: [{nmae: a, kind: math}, {name: b, kind: nath}]", "RABBITRPC_LOGLEVEL=a")
	errs, ok := errors.AsType[config.Errors](err)
	if !ok || len(errs) != 4 {
		t.Errorf("got %v, want four errors", err)
	}
}

func TestFiles(t *testing.T) {
	for name, text := range map[string]string{
		"c.toml": "[log]\nlevel = 'warn'\n[[services]]\nname = 'm'\nkind = 'steps'\ndrain = '1m'\n[services.methods.go]\ncommand = ['a', 'b']\n",
		"c.yml":  "log:\n  level: warn\nservices:\n- name: m\n  kind: steps\n  drain: 1m\n  methods:\n    go:\n      command: [a, b]\n",
	} {
		c, err := config.Load(config.Input{File: file(t, name, text), Kinds: kinds})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		own := c.Services[0].Own.(*steps)
		if got := fmt.Sprint(c.Log.Level, " ", c.Services[0].Drain, own.StepMap["go"].Command); got != "warn 1m0s [a b]" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	for name, want := range map[string]string{
		"c.json": "must end in .yaml, .yml or .toml",
		"c.toml": "c.toml: line 2: toml: ",
	} {
		if _, err := config.Load(config.Input{File: file(t, name, "a = 1\nb ="), Kinds: kinds}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if _, err := config.Load(config.Input{File: "/nowhere.yaml", Kinds: kinds}); err == nil || !strings.Contains(err.Error(), "open /nowhere.yaml") && !strings.Contains(err.Error(), "stat /nowhere.yaml") {
		t.Errorf("got %v, want the path", err)
	}
	if _, err := config.Load(config.Input{File: file(t, "c.yaml", strings.Repeat("#", 2<<20)), Kinds: kinds}); err == nil {
		t.Error("a file of 2 MiB was read")
	}
}

// TestKubernetes: what a cluster puts into the environment beside a service of that name is no mistake of the operator's.
func TestKubernetes(t *testing.T) {
	_, err := load(t, "services: [{name: m, kind: math}]", "RABBITRPC_SERVICE_HOST=10.0.0.1", "RABBITRPC_SERVICE_PORT_ADMIN=9090",
		"RABBITRPC_PORT=tcp://10.0.0.1:9090", "RABBITRPC_PORT_9090_TCP_ADDR=10.0.0.1", "RABBITRPC_CONFIG=c.yaml")
	if err != nil {
		t.Error(err)
	}
}
