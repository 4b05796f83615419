// Package config is what rabbitrpc serve is told: by flags, by the environment, by a file, and by defaults, in this order.
//
// [Load] returns a [Config] that is right as far as can be told without a broker, or all that is wrong with it: each error
// names where the value comes from, its key, and what would be right. What is secret never shows: see [URL].
//
// The keys are the koanf tags of the structs. A new section is a field of [Config], a new kind of service an entry of [Kinds].
package config

import (
	"log/slog"
	"time"

	"github.com/rabbitrpc/rabbitrpc/server"
)

// Config is a whole configuration.
type Config struct {
	Broker   Broker    `koanf:"broker"`
	Log      Log       `koanf:"log"`
	Admin    Admin     `koanf:"admin"`
	Tracing  Tracing   `koanf:"tracing"`
	Gateway  Gateway   `koanf:"gateway"`
	Services []Service `koanf:"services"`
}

// Broker says where the broker is and who logs in there.
type Broker struct {
	URL             URL    `koanf:"url"`
	Name            string `koanf:"name"` // of the connections
	Username        string `koanf:"username"`
	PasswordFile    string `koanf:"password_file"`
	CredentialsFile string `koanf:"credentials_file"` // one line: user:password
	TLS             TLS    `koanf:"tls"`
}

// TLS names the files for amqps URLs. Without them the system's roots are trusted.
type TLS struct {
	CAFile     string `koanf:"ca_file"`
	CertFile   string `koanf:"cert_file"`
	KeyFile    string `koanf:"key_file"`
	ServerName string `koanf:"server_name"`
}

// Log says what is logged on standard error, and how.
type Log struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// Admin is the listener for those who look after the daemon.
type Admin struct {
	Listen    string `koanf:"listen"` // host and port; none if it is empty
	TokenFile string `koanf:"token_file"`
	Open      bool   `koanf:"open"` // without a token, though other hosts can reach it
}

// Tracing says where traces go, and which part of them.
type Tracing struct {
	Endpoint URL     `koanf:"endpoint"` // OTLP; none if it is empty
	Sample   float64 `koanf:"sample"`   // 0 to 1
}

// Service is a service, or a plain queue too, that is answered.
type Service struct {
	Name          string        `koanf:"name"`
	Kind          string        `koanf:"kind"`
	Workers       int           `koanf:"workers"`
	Drain         time.Duration `koanf:"drain"`
	Timeout       time.Duration `koanf:"timeout"` // of requests that bring none
	Quorum        int           `koanf:"quorum"`  // delivery limit; 0 for a classic queue
	MaxQueue      int           `koanf:"max_queue"`
	Queue         string        `koanf:"queue"`        // plain
	QueueMethod   string        `koanf:"queue_method"` // for its messages that name none
	ReplyTo       string        `koanf:"reply_to"`     // pattern
	PoisonLimit   int           `koanf:"poison_limit"`
	TenantLimit   int           `koanf:"tenant_limit"`
	AdaptiveLimit int           `koanf:"adaptive_limit"` // its least
	User          string        `koanf:"user"`           // said in each reply
	FailFast      bool          `koanf:"fail_fast"`
	Discovery     bool          `koanf:"discovery"` // instances may be asked for
	Version       string        `koanf:"version"`   // said to those who ask
	Limits        Limits        `koanf:"limits"`
	Dedupe        Dedupe        `koanf:"dedupe"`

	Own Kind `koanf:"-"` // what only services of this kind have
}

// Limits is server.Limits. What is 0 keeps its default.
type Limits struct {
	Body        int           `koanf:"body"`
	Ratio       int           `koanf:"ratio"`
	JSONDepth   int           `koanf:"json_depth"`
	Headers     int           `koanf:"headers"`
	HeaderBytes int           `koanf:"header_bytes"`
	Timeout     time.Duration `koanf:"timeout"`
	Reply       int           `koanf:"reply"`
}

// A Kind is what a service of some kind has besides what all have: a pointer to a struct, into which the keys are read that
// are not those of [Service].
type Kind interface {
	// Check reports what cannot be right, without I/O beyond a look at files. A [*KeyError] says which key it is.
	Check() error

	// Methods are the names of its methods.
	Methods() []string

	// Serve starts what the methods need and registers them with s, which does not run yet. Close ends it, within seconds, or
	// what a method Closing of the Kind returns, after s has drained. It is called once; a service that is to change gets a new
	// Kind beside the old.
	Serve(s *server.Server, log *slog.Logger) (close func(), err error)
}

// Kinds makes an empty section for each kind of service.
type Kinds map[string]func() Kind

func defaults() Config {
	return Config{
		Broker:  Broker{URL: "amqp://guest:guest@localhost:5672/", Name: "rabbitrpc serve"},
		Log:     Log{Level: "info", Format: FormatAuto},
		Tracing: Tracing{Sample: 1},
		Gateway: DefaultGateway(),
	}
}

func defaultService() Service {
	return Service{Workers: 16, Drain: 30 * time.Second, Timeout: 30 * time.Second, PoisonLimit: 5, Discovery: true, Dedupe: Dedupe{Store: StoreLRU}}
}
