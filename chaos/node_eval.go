package chaos

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// eval runs an Erlang expression on the node. A value that does not match what it expects is an error. Most operations are
// made of it, as the commands of rabbitmqctl are: it is the shortest way to several at once, and to what has no command.
func (n *Node) eval(ctx context.Context, format string, args ...any) error {
	_, err := n.Ctl(ctx, "eval", fmt.Sprintf(format, args...)+".")
	return err
}

// number is eval of an expression that is a number.
func (n *Node) number(ctx context.Context, format string, args ...any) (int, error) {
	out, err := n.Ctl(ctx, "eval", fmt.Sprintf(format, args...)+".")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(out)
}

// quote writes a string as a binary of Erlang.
func quote(s string) string {
	return `<<"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"/utf8>>`
}

// resource writes the name of a queue or an exchange of the default virtual host in Erlang.
func resource(kind, name string) string {
	return fmt.Sprintf(`rabbit_misc:r(<<"/">>, %s, %s)`, kind, quote(name))
}

// actor is who the broker's log says has done it.
const actor = `<<"chaos">>`
