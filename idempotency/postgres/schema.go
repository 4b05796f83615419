package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed schema.sql
var schema1 string

// migrations[n] brings a schema from version n to n+1.
var migrations = []string{schema1}

const minServer = 130000 // the first with transaction ids of 64 bits

// sql returns a text with the name of the schema in it.
func (o *options) sql(text string) string { return strings.ReplaceAll(text, "{schema}", o.schema) }

// migrate makes the schema, or brings it to the version of this program. If there is nothing to do it needs no
// rights. Several servers may try at the same time.
func (o *options) migrate(ctx context.Context, c *pgx.Conn) error {
	var server int
	var standby bool
	err := c.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, pg_is_in_recovery()").Scan(&server, &standby)
	switch {
	case err != nil:
		return err
	case server < minServer:
		return fmt.Errorf("the server is PostgreSQL %d: use 13 or later", server/10000)
	case standby:
		return errors.New("the server is a standby: use the primary, or add target_session_attrs=read-write to the URL")
	}
	version, err := o.version(ctx, c)
	if err != nil || version == len(migrations) {
		return err
	}
	// Until the connection is closed.
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", o.schema+".migrate"); err != nil {
		return err
	}
	if version, err = o.version(ctx, c); err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		if err := o.apply(ctx, c, version); err != nil {
			return fmt.Errorf("bring schema %s to version %d: %w", o.schema, version+1, err)
		}
	}
	return nil
}

// version returns that of the schema, 0 if there is none.
func (o *options) version(ctx context.Context, c *pgx.Conn) (version int, err error) {
	err = c.QueryRow(ctx, o.sql("SELECT {schema}.version()")).Scan(&version)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == invalidSchema || e.Code == undefinedFunction) {
		return 0, nil
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("schema %s has version %d, and this program knows none after %d: upgrade the program",
			o.schema, version, len(migrations))
	}
	return version, err
}

// apply runs a migration, as a whole or not at all.
func (o *options) apply(ctx context.Context, c *pgx.Conn, version int) error {
	var exists bool // the right to make it is needed even where IF NOT EXISTS has nothing to do
	if err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", o.schema).Scan(&exists); err != nil {
		return err
	}
	script := migrations[version] + fmt.Sprintf(";\nUPDATE {schema}.meta SET version = %d", version+1)
	if !exists {
		script = "CREATE SCHEMA {schema};\n" + script
	}
	_, err := c.PgConn().Exec(ctx, o.sql(script)).ReadAll() // one transaction, since it is sent as one
	return err
}
