package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
)

// A pair is the client and the server of a side.
type pair struct {
	side           worker.Side
	client, server *process // no server if somebody else's is called
	connected      worker.Connected
}

// start starts the processes of a side, and returns once the first call was answered, unless calls are to be held.
func (r *run) start(ctx context.Context, s worker.Setup) (_ *pair, err error) {
	s.Queue = "bench-" + uuid.NewString()[:8]
	p := &pair{side: s.Side}
	defer func() {
		if err != nil {
			p.end()
		}
	}()
	if s.Side.Kind == worker.Own {
		s.Target = r.Target
	}
	if s.Target == nil {
		if p.server, err = r.launch(s.Side); err != nil {
			return nil, err
		}
		s.Profile = r.profile(&s, "server")
		if err = p.server.call(ctx, "Server.Serve", s, &worker.Nothing{}); err != nil {
			return nil, err
		}
	}
	if p.client, err = r.launch(s.Side); err != nil {
		return nil, err
	}
	s.Profile = r.profile(&s, "client")
	if err = p.client.call(ctx, "Client.Connect", s, &p.connected); err != nil {
		return nil, err
	}
	return p, nil
}

func (r *run) launch(side worker.Side) (*process, error) {
	url := r.URL
	if side.Kind != worker.Own {
		url = r.one
	}
	cmd := r.Worker()
	cmd.Env = append(append(os.Environ(), "RABBITMQ_URL="+url), side.Env...)
	p, err := startProcess(cmd)
	if err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	return p, nil
}

// profile returns the beginning of the names of a process's profiles, empty if there are to be none.
func (r *run) profile(s *worker.Setup, role string) string {
	if r.Profiles == "" || s.Hold {
		return ""
	}
	side := strings.NewReplacer("=", "-", ",", "-", "/", "-").Replace(s.Side.Name)
	name := fmt.Sprintf("%s-%s-%d-callers-%d-bytes-%s", side, s.Cell.Mode, s.Cell.Callers, s.Cell.Size, role)
	return filepath.Join(r.Profiles, name)
}

// finish ends the work of a pair in good order.
func (p *pair) finish(ctx context.Context) error {
	if err := p.client.call(ctx, "Client.Finish", worker.Nothing{}, &worker.Nothing{}); err != nil || p.server == nil {
		return err
	}
	return p.server.call(ctx, "Server.Finish", worker.Nothing{}, &worker.Nothing{})
}

// end ends the processes of a pair, whatever they do.
func (p *pair) end() {
	for _, one := range []*process{p.client, p.server} { // the client first: its calls then wait for nobody
		if one != nil {
			one.end()
		}
	}
}
