package scenario

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// Config is what the scenarios of a lab have in common.
type Config struct {
	Dir     string // an empty folder: each scenario makes one for itself in it
	Seed    uint64 // of all that is random
	Callers int
	Servers int
	Store   string        // of the servers' memory, one of bank.Stores
	Pace    time.Duration // how long a caller waits between two calls, on average; may be zero

	// Server is the command of a server. It is told what to do by its environment, see docs/chaos.md.
	Server []string

	// Guests is the command of callers in a process of their own: it calls [Guests].
	Guests []string

	// Watch is told how a run goes, a few times a second. May be nil.
	Watch func(Status)

	// Log has what the callers' connections say.
	Log *slog.Logger
}

// A Lab is a private broker and a private database, in which scenarios are run one after the other.
type Lab struct {
	config    Config
	password  string // of the broker's user
	node      *chaos.Node
	database  *chaos.Postgres
	storeLine *chaos.Proxy // of the servers to the database
	versions  []string     // of all that takes part
	runs      int
}

const (
	brokerUser       = "chaos"
	heartbeat        = time.Second
	heartbeatSeconds = "1"
)

// OpenLab starts the broker and the database. Nothing is left of them after Close, nor when this process is killed.
func OpenLab(ctx context.Context, c Config) (_ *Lab, err error) {
	l := &Lab{config: c, password: rand.Text()}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := l.startNode(ctx); err != nil {
		return nil, err
	}
	if l.database, err = chaos.StartPostgres(ctx); err != nil {
		return nil, err
	}
	if l.storeLine, err = chaos.NewProxy(l.database.URL()); err != nil {
		return nil, err
	}
	l.versions, err = l.askVersions(ctx)
	return l, err
}

func (l *Lab) askVersions(ctx context.Context) ([]string, error) {
	broker, err := l.node.Ctl(ctx, "version")
	if err != nil {
		return nil, err
	}
	c, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	var database string
	if err := c.QueryRow(ctx, "SHOW server_version").Scan(&database); err != nil {
		return nil, fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	database, _, _ = strings.Cut(database, " ")
	return []string{"RabbitMQ " + broker, "PostgreSQL " + database, runtime.Version()}, nil
}

// connect connects with the database, not through the line of the servers.
func (l *Lab) connect(ctx context.Context) (*pgx.Conn, error) {
	c, err := pgx.Connect(ctx, l.database.URL())
	if err != nil {
		return nil, errors.New("no connection with PostgreSQL") // the error may show the password
	}
	return c, nil
}

// startNode starts the broker, in place of the one that there may be.
func (l *Lab) startNode(ctx context.Context, opts ...chaos.Option) error {
	n, err := chaos.StartNode(ctx, opts...)
	if err != nil {
		return err
	}
	before := l.node
	l.node = n
	if before != nil {
		if err := before.Close(); err != nil {
			return err
		}
	}
	if err := n.AddUser(ctx, brokerUser, l.password); err != nil {
		return err
	}
	return l.grant(ctx)
}

// move makes sure that the broker is where a scenario needs it: packets are only dropped where they are nobody else's. Where
// there can be no namespace, it stays where it is, for the scenarios that need none.
func (l *Lab) move(ctx context.Context, s Scenario) error {
	if !s.Packets || l.node.Proxy() != nil {
		return nil
	}
	return l.startNode(ctx, chaos.InNamespace())
}

// Close ends all that the lab has started.
func (l *Lab) Close() error {
	var errs []error
	if l.storeLine != nil {
		l.storeLine.Close()
	}
	if l.database != nil {
		errs = append(errs, l.database.Close())
	}
	if l.node != nil {
		errs = append(errs, l.node.Close())
	}
	return errors.Join(errs...)
}

// grant gives the broker's user all rights.
func (l *Lab) grant(ctx context.Context) error {
	return l.node.SetPermissions(ctx, brokerUser, "/", chaos.AllPermissions)
}

func (l *Lab) brokerURL() string { return l.node.URLFor(brokerUser, l.password, "/") }

// secrets are what must be in no log.
func (l *Lab) secrets() []string {
	u, err := url.Parse(l.database.URL())
	if err != nil {
		return []string{l.password}
	}
	p, _ := u.User.Password()
	return []string{l.password, p}
}

// newDatabase makes an empty database, and returns its URL behind the line of the store.
func (l *Lab) newDatabase(ctx context.Context) (string, error) {
	c, err := l.connect(ctx)
	if err != nil {
		return "", fmt.Errorf("make database: %w", err)
	}
	defer c.Close(ctx)
	l.runs++
	name := fmt.Sprintf("bank%d", l.runs)
	if _, err := c.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("make database: %w", err)
	}
	return strings.Replace(l.storeLine.URL(), "/postgres?", "/"+name+"?", 1), nil
}
