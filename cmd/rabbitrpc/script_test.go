package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// TestScripts runs the scripts in testdata, against one broker. Beside testscript's own they have these commands:
//
//	exits CODE PROGRAM [ARG...]  run it; it must exit with CODE
//	start [ARG...]               start rabbitrpc in the background
//	says PATTERN                 wait until it prints a line like that
//	signal NAME                  send it INT, TERM, HUP or KILL
//	ended CODE                   wait for its end; its output is in the files out and err
//	eventually COUNT PATTERN PROGRAM [ARG...]
//	                             run it until it succeeds with so many lines like that
//	mute QUEUE                   be a server that takes requests and never answers
//	listen                       take connections at $LATER, where none were taken before, for the broker
//	[!] park SERVICE ID METHOD FILE [CONTENT-TYPE]
//	                             park a request, as a server does, or as none would; ID and METHOD may have escapes as in Go
//	user NAME CONFIGURE WRITE READ
//	                             make a user of the broker with these rights; $NAME is its URL
//	upstream                     start an HTTP server, at $UPSTREAM
//	post [-H 'NAME: VALUE']... URL [BODY]
//	                             make an HTTP request; status, headers and body of the response are its output
//	asks STATUS URL [PATTERN...] get a URL; the answer must have that status, and match the patterns
//	collector                    take traces, from programs that are started then
//	spans FILE                   write kind, name, status and parent of the spans that were taken
//	swept TEXT                   wait until the broker has no queue with that in its name
//	queue NAME [ARGUMENT=VALUE...]
//	                             declare a queue, as somebody else would
//	[!] alarm                    make the broker low on memory, or not
//	secure DAYS                  listen with TLS at $TLS, for the broker; the authority is in ca.pem
//	ancient VERSION              listen at $ANCIENT, as an old broker
//	silent                       listen at $SILENT, and say nothing
//	gone                         wait until no process of the script is left, and nothing in $TMPDIR
func TestScripts(t *testing.T) {
	broker := testbroker.URL(t)
	testscript.RunT(sequential{t}, testscript.Params{
		Dir:                 "testdata",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[testKey{}] = t
			return setup(e, broker)
		},
		Condition: func(name string) (bool, error) {
			if name == "control" { // the broker is the tests' own
				return os.Getenv("RABBITRPC_TEST_URL") == "", nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "start": start, "says": says, "signal": sendSignal, "ended": ended,
			"mute": mute, "listen": listen, "gone": gone, "swept": swept, "park": park, "user": user, "collector": collector,
			"spans": spans, "asks": asks, "queue": queue, "alarm": alarm, "secure": secure, "ancient": ancient, "silent": silent,
			"upstream": upstream, "post": post, "eventually": eventually,
		},
	})
}

// sequential runs the scripts one after the other: they share the service math.
type sequential struct{ *testing.T }

func (s sequential) Parallel()     {}
func (s sequential) Verbose() bool { return testing.Verbose() }
func (s sequential) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(sequential{t}) })
}

func setup(e *testscript.Env, broker string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(e.WorkDir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(self, filepath.Join(bin, "rabbitrpc")); err != nil {
		return err
	}
	// PostgreSQL, which root starts as another user, makes a folder in the one for temporary files.
	if err := errors.Join(os.Chmod(filepath.Dir(e.WorkDir), 0o711), os.Chmod(e.Getenv("TMPDIR"), 0o1777)); err != nil {
		return err
	}
	u, err := url.Parse(broker)
	if err != nil {
		return err
	}
	later, err := freeAddress()
	if err != nil {
		return err
	}
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	dead, err := freeAddress()
	if err != nil {
		return err
	}
	gateway, err := freeAddress()
	if err != nil {
		return err
	}
	e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
	e.Setenv(asCommand, "yes")
	e.Setenv("RABBITMQ_URL", broker)
	e.Setenv("ADDR", u.Host)
	e.Setenv("PORT", u.Port())
	e.Setenv("LOGIN", u.User.String())
	e.Setenv("DEAD", dead)                  // nothing listens there
	e.Setenv("ADMIN", admin)                // free, too
	e.Setenv("LATER", later)                // see listen
	e.Setenv("GATEWAY", gateway)            // for rabbitrpc gateway
	e.Setenv("GORACE", "atexit_sleep_ms=0") // or each command takes a second more
	e.Values[envKey{}] = e
	return nil
}

type envKey struct{}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
