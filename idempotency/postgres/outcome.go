package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// outcome finds out what became of a transaction whose connection was lost during the commit.
func (s *Store) outcome(ctx context.Context, t *transaction, cause error) error {
	for {
		status, has, err := s.ask(ctx, t)
		switch {
		case err != nil || status == "in progress":
			// maybe later
		case status == "committed" && has:
			return nil
		case status == "aborted" && !has:
			return undone(cause)
		default: // not by this server, as after a failover
			return advise("commit, outcome unknown", cause)
		}
		if !sleep(ctx, retryAfter) {
			return advise("commit, outcome unknown", cause)
		}
	}
}

// ask asks on another connection. If the transaction still waits for the commit, which was lost on the way, it
// is ended.
func (s *Store) ask(ctx context.Context, t *transaction) (status string, has bool, err error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return "", false, err
	}
	defer conn.Close(ctx)
	id := fmt.Sprint(*t.fence)
	var known *string
	b := &pgx.Batch{}
	b.Queue("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
		"WHERE backend_xid = $1::text::xid8::xid AND state LIKE 'idle in transaction%'", id)
	b.Queue("SELECT pg_xact_status($1::text::xid8)", id).QueryRow(func(row pgx.Row) error { return row.Scan(&known) })
	// After the status: what was committed by then is seen.
	b.Queue(s.sql("SELECT {schema}.has($1, $2)"), t.key, t.fence).QueryRow(func(row pgx.Row) error { return row.Scan(&has) })
	err = conn.SendBatch(ctx, b).Close()
	if known != nil {
		status = *known
	}
	return status, has, err
}
