package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A usageError is a command line that cannot be right.
type usageError struct {
	command string // with whose help it is put right
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// A hintedError is an error of which it is known what to do about it.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// report writes an error for people: one line that says what is known, and one that says what to do about it.
func report(w io.Writer, err error) {
	if wrong, ok := errors.AsType[config.Errors](err); ok {
		for _, one := range wrong {
			fmt.Fprintf(w, "rabbitrpc: %s\n", sentence(one.Error()))
		}
		return
	}
	e, coded := errors.AsType[*rpc.Error](err)
	if !coded {
		fmt.Fprintf(w, "rabbitrpc: %s\n", sentence(err.Error()))
	} else {
		fmt.Fprintf(w, "rabbitrpc: %s (executed: %s)\n", sentence(e.Error()), e.Executed)
		if len(e.Details) > 0 {
			fmt.Fprintf(w, "details: %s\n", sentence(string(e.Details)))
		}
		if e.RetryAfter > 0 {
			fmt.Fprintf(w, "retry after: %v\n", e.RetryAfter)
		}
	}
	if h := hint(err); h != "" {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
}

// credentials finds the part that nobody else may see of a URL in quotes: of an argument in the wrong place. All other
// errors have none. Who forgets to encode a password may have any character in it.
var credentials = regexp.MustCompile(`("\S*?://)\S*@`)

// sentence makes one line of a text.
func sentence(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
	return printable(credentials.ReplaceAllString(text, "${1}***@"), "")
}

func hint(err error) string {
	if e, ok := errors.AsType[*usageError](err); ok {
		return "see " + e.command + " --help"
	}
	if e, ok := errors.AsType[*hintedError](err); ok {
		return e.hint
	}
	if e, ok := errors.AsType[*parked.DeniedError](err); ok {
		return "the user of --url or RABBITMQ_URL needs the right to " + e.Need
	}
	e, coded := errors.AsType[*rpc.Error](err)
	switch {
	case errors.Is(err, parked.ErrInDoubt):
		return "it may be parked still. Requeued again it has the same call ID, and does not run twice where servers remember calls"
	case errors.Is(err, parked.ErrBusy):
		return "try again when that has ended"
	case coded && !e.Remote && e.Executed == rpc.ExecutedUnknown: // why comes second: it is in the line above
		return "the call may have taken effect: find out before you repeat it"
	case coded && !e.Remote && e.Code == rpc.Canceled: // by the user, who knows
		return ""
	case errors.Is(err, conn.ErrTLS):
		return "rabbitrpc doctor shows how far it gets"
	case errors.Is(err, conn.ErrRefused):
		return "check the user, password and virtual host of --url or RABBITMQ_URL, and the user's permissions; rabbitrpc doctor says which"
	case errors.Is(err, errNoDialEnded):
		return "RabbitMQ takes three seconds to refuse a wrong password: try a longer --timeout, then check host and port"
	case errors.Is(err, conn.ErrNotConnected):
		return "is RabbitMQ running there? --url or RABBITMQ_URL says where, --timeout how long to try"
	case errors.Is(err, conn.ErrClosed):
		return "the connection was lost on the way: try again; rabbitrpc doctor shows whether the broker is there"
	case errors.Is(err, conn.ErrBlocked):
		return "rabbitrpc doctor says why it takes none, and what to do"
	case errors.Is(err, client.ErrNoServer):
		return "check the name, or start a server: rabbitrpc serve is one of the service math"
	case !coded && errors.Is(err, context.DeadlineExceeded):
		return "the broker did not answer in time: rabbitrpc doctor shows how far it gets"
	case !coded:
		return ""
	case e.Remote && e.Code == rpc.Unimplemented:
		return "check the name of the method, and the content type"
	case e.Code.Retryable() && e.Executed == rpc.ExecutedNo:
		return "the same call may succeed a little later"
	case e.Executed == rpc.ExecutedUnknown:
		return "the call may have taken effect: find out before you repeat it"
	}
	return ""
}
