package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A node is one of several addresses.
type node struct {
	name    string
	session conn.Session
	queue   string // that was declared there
}

// nodesPatience is how long a node may take to hear of a queue that another one has.
const nodesPatience = time.Second

// nodes finds out whether all addresses of the URL that can be reached are of one cluster that has not split.
func nodes(ctx context.Context, m *conn.Manager) Check {
	live, err := m.Session(ctx)
	if err != nil {
		return failed(err)
	}
	all := []node{{name: m.State().Addr, session: live}}
	for _, d := range m.Elsewhere() {
		s, err := d.Dial(ctx)
		if err != nil {
			continue // it has been said that it cannot be reached
		}
		defer s.Close(ctx)
		all = append(all, node{name: fmt.Sprint(d), session: s})
	}
	if len(all) == 1 {
		return skipped("only one address can be reached")
	}
	return agree(ctx, all)
}

// agree finds out whether what is declared with one node is known to the others.
func agree(ctx context.Context, nodes []node) Check {
	for i, n := range nodes {
		q, err := n.session.DeclareQueue(ctx, conn.Queue{Exclusive: true, AutoDelete: true})
		if err != nil {
			return skipped("no queue can be declared to try it with: %v", err)
		}
		nodes[i].queue = q.Name
	}
	var strange []string
	for _, a := range nodes {
		for _, b := range nodes {
			switch known, err := knows(ctx, b.session, a.queue); {
			case err != nil:
				return skipped("%s does not say what it knows: %v", b.name, err)
			case !known:
				strange = append(strange, fmt.Sprintf("%s does not know a queue of %s", b.name, a.name))
			}
		}
	}
	if len(strange) > 0 {
		return Check{
			Status: Problem, Text: strings.Join(strange, "; "),
			Cure: "the cluster has split, or these are not of one: rabbitmqctl cluster_status on each; restart the node that stands alone",
		}
	}
	return fine("%d, which know each other's queues", len(nodes))
}

// knows reports whether a broker knows a queue, which may belong to another connection, and gives it a moment.
func knows(ctx context.Context, s conn.Session, queue string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, nodesPatience)
	defer cancel()
	tick := time.NewTicker(nodesPatience / 10)
	defer tick.Stop()
	for {
		_, err := s.InspectQueue(ctx, queue)
		switch {
		case err == nil, errors.Is(err, conn.ErrLocked):
			return true, nil
		case ctx.Err() == nil && !errors.Is(err, conn.ErrNotFound):
			return false, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}
