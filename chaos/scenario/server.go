package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// A server is a process that dies and lives again, with a line of its own to the broker.
type server struct {
	name    string
	line    *chaos.Proxy
	command chaos.Command

	mu     sync.Mutex // guards what follows
	latest *chaos.Process
	wanted bool // to run: nobody has killed or stopped it
}

// newServer prepares a server. What it is told is the contract for servers of users: see docs/chaos.md.
func (r *run) newServer(name string) (*server, error) {
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	line, err := chaos.NewProxy(r.lab.brokerURL())
	if err != nil {
		return nil, err
	}
	return &server{name: name, line: line, command: chaos.Command{
		Args: r.lab.config.Server,
		Log:  filepath.Join(dir, "server.log"),
		Env: []string{
			"RABBITMQ_URL=" + line.URL() + "?heartbeat=" + heartbeatSeconds,
			"DATABASE_URL=" + r.databaseURL,
			"CHAOS_SERVICE=" + r.service,
			"CHAOS_SERVER=" + name,
			"CHAOS_DIR=" + dir,
			"CHAOS_STORE=" + r.store(),
			fmt.Sprint("CHAOS_ACCOUNTS=", accounts),
			fmt.Sprint("CHAOS_OPENING=", opening),
			fmt.Sprint("CHAOS_WORK=", r.scenario.Work),
			"CHAOS_QUORUM=" + quorumLimit(r.scenario.Quorum),
		},
	}}, nil
}

// quorumLimit is the delivery limit of the queue that servers are asked to serve, 0 for a classic queue.
func quorumLimit(quorum bool) string {
	if quorum {
		return "20"
	}
	return "0"
}

// Start starts the server, unless it runs. It does not wait until it serves.
func (s *server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live(ctx, "")
}

// startBroken is Start with an order to break at a point of the code: see internal/failpoint.
func (s *server) startBroken(ctx context.Context, failpoint string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live(ctx, failpoint)
}

// supervise starts the server again whenever it ends by itself, as those do that find no database at their start, until ctx
// ends. A signal that nobody sent it is a crash, which is told.
func (s *server) supervise(ctx context.Context, crashed func(error)) {
	for {
		p := s.process()
		select {
		case <-p.Done():
		case <-ctx.Done():
			return
		}
		if err := p.Wait(ctx); killed(err) && s.wants(p) {
			crashed(err)
		}
		if !wait(ctx, restartAfter) {
			return
		}
		s.mu.Lock()
		if s.wanted {
			_ = s.live(ctx, "") // it is tried again
		}
		s.mu.Unlock()
	}
}

// killed reports whether a process has ended by a signal.
func killed(end error) bool { return end != nil && strings.HasPrefix(end.Error(), "signal: ") }

// errExit0 is the end of a process that should not have ended, well or not.
var errExit0 = errors.New("with exit code 0")

// wants reports whether the life is the latest, and nobody has ended it.
func (s *server) wants(p *chaos.Process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted && s.latest == p
}

const restartAfter = 200 * time.Millisecond

// live makes the server run. The mutex is held.
func (s *server) live(ctx context.Context, failpoints string) error {
	s.wanted = failpoints == ""
	if s.latest != nil {
		if s.latest.Alive() {
			return nil
		}
		if err := s.latest.Close(); err != nil {
			return err
		}
	}
	c := s.command
	c.Env = append(c.Env[:len(c.Env):len(c.Env)], "RABBITRPC_FAILPOINTS="+failpoints)
	p, err := chaos.StartProcess(ctx, c)
	if err == nil {
		s.latest = p
	}
	return err
}

// process returns the latest life: there is one once it has been started.
func (s *server) process() *chaos.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// last returns the latest life, after which there is to be no other before the next Start.
func (s *server) last() *chaos.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = false
	return s.latest
}

// stopLimit is how long a server may take to drain: all calls that it has begun are over then.
const stopLimit = longTimeout + 15*time.Second

// Stop asks the server to end, and waits for that. One that does not is killed, and that is an error.
func (s *server) Stop(ctx context.Context) error {
	p := s.last()
	limit, cancel := context.WithTimeoutCause(ctx, stopLimit, fmt.Errorf("it has not ended %v after SIGTERM", stopLimit))
	defer cancel()
	err := p.Stop(limit)
	if err != nil {
		err = errors.Join(fmt.Errorf("%s: %w", s.name, err), p.Close())
	}
	return err
}

// drain is Stop, and wants the server to have ended well.
func (s *server) drain(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.process().Wait(ctx)
}

// Kill ends the server at once.
func (s *server) Kill() error { return s.last().Kill() }

// Pause freezes the server.
func (s *server) Pause() error { return s.process().Pause() }

// Resume lets it go on.
func (s *server) Resume() error { return s.process().Resume() }

func (s *server) close() error {
	s.line.Close()
	if p := s.last(); p != nil {
		return p.Close()
	}
	return nil
}

// ended says how a server ended that should not have, with the end of its log; nil if it runs.
func (s *server) ended(ctx context.Context) error {
	p := s.process()
	if p.Alive() {
		return nil
	}
	how := cmp.Or(p.Wait(ctx), errExit0)
	b, _ := os.ReadFile(s.command.Log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("%s has ended: %w\n%s", s.name, how, strings.Join(lines[max(0, len(lines)-5):], "\n"))
}
