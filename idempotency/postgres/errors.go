package postgres

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Codes of PostgreSQL, and, from RR000, of the schema.
const (
	uniqueViolation      = "23505"
	readOnly             = "25006"
	notSupported         = "0A000" // also of BEGIN READ WRITE, on a standby
	invalidAuthorization = "28000"
	invalidPassword      = "28P01"
	invalidDatabase      = "3D000"
	invalidSchema        = "3F000"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	insufficientRights   = "42501"
	undefinedFunction    = "42883"
	tooManyConnections   = "53300"
	lockNotAvailable     = "55P03"
	noPartition          = "RR001"
	endedByHandler       = "RR002"
)

// codeOf returns the code that PostgreSQL has given the error, or "".
func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// conflict says whether the transaction lost against others, and may do better if it is run again.
func conflict(err error) bool {
	code := codeOf(err)
	return code == serializationFailure || code == deadlockDetected
}

// lost says whether the error is of the connection, and not of what was asked for, or of a server that is not
// the primary any more.
func lost(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || fatal(e) || e.Code == readOnly || e.Code == notSupported
}

// fatal says whether PostgreSQL has ended the connection with the error, and not only the transaction.
func fatal(e *pgconn.PgError) bool {
	return e.SeverityUnlocalized == "FATAL" || e.SeverityUnlocalized == "PANIC"
}

// advise adds to an error of PostgreSQL, or of the way there, what was being done and what to do about it. No
// password is in it, nor a text of a query.
func advise(doing string, err error) error {
	if _, ok := errors.AsType[*rpc.Error](err); ok {
		return err
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = e.Unwrap() // it holds the configuration, and so the password
	}
	advice := ""
	switch code := codeOf(err); {
	case code == invalidPassword || code == invalidAuthorization:
		advice = ": check the user and the password in the URL"
	case code == invalidDatabase:
		advice = ": create the database, or check its name in the URL"
	case code == insufficientRights:
		advice = ": see Rights in the documentation of this package"
	case code == tooManyConnections:
		advice = ": lower WithConnections, or raise max_connections of the server"
	case errors.Is(err, syscall.ECONNREFUSED):
		advice = ": is PostgreSQL running, and does it listen there?"
	}
	return fmt.Errorf("postgres: %s: %w%s", doing, err, advice)
}
