package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const parkedShowHelp = `Show all that is known of a parked request: why it was parked, its properties and
headers, and its body, decompressed: JSON is indented, of other text what a terminal
would act on is escaped, and the rest is dumped in hexadecimal.

With -o raw the body is all that is written, as it came, to a file or a pipe.
`

func newParkedShow() *cobra.Command {
	var f parkedFlags
	var output string
	cmd := &cobra.Command{
		Use:   "show SERVICE ID",
		Short: "Show a parked request with its body",
		Long:  parkedShowHelp + parkedIDs + "\n" + exitHelp,
		Example: `  rabbitrpc parked show math 4f1c
  rabbitrpc parked show math 4f1c -o raw >body`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 2:
				return usagef(cmd, "want a service and a call ID, got %d arguments", len(args))
			case output != "text" && output != "raw":
				return usagef(cmd, "output must be text or raw, got %q", output)
			}
			return checkService(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			raw := output == "raw"
			if raw && isTerminal(cmd.OutOrStdout()) {
				return usagef(cmd, "a terminal would act on what is in the body: -o raw is for a file or a pipe")
			}
			return f.read(cmd, args[0], parked.MaxHeld, func(ctx context.Context, q *parked.Queue) error {
				found, err := find(ctx, q, args[0], args[1:])
				if err != nil {
					return err
				}
				var b bytes.Buffer
				for i, r := range found {
					switch {
					case raw && i == 0:
						b.Write(r.Body)
					case !raw:
						show(&b, r)
					}
				}
				if _, err := b.WriteTo(cmd.OutOrStdout()); err != nil {
					return fmt.Errorf("write the request: %w", err)
				}
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or raw")
	return cmd
}

// show writes all of a request.
func show(w io.Writer, r *parked.Request) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-17s %s\n", name, printable(value, ""))
		}
	}
	line("call", r.CorrelationID)
	line("method", r.Type)
	line("parked", when(r.At))
	line("by", r.Server)
	line("reason", r.Reason)
	if r.Attempts > 0 {
		line("attempts", fmt.Sprint(r.Attempts))
	}
	line("user", r.User)
	client := wire.ClientOf(&r.Message)
	line("client", client)
	line("reply-to", r.ReplyTo)
	line("content type", r.ContentType)
	line("content encoding", r.ContentEncoding)
	line("message id", r.MessageID)
	if r.AppID != client { // of a caller that knows nothing of the protocol
		line("app id", r.AppID)
	}
	line("timestamp", when(r.Timestamp))
	if r.Priority > 0 {
		line("priority", fmt.Sprint(r.Priority))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if !strings.HasPrefix(name, "rpc-parked-") {
			line("header", fmt.Sprintf("%s: %v", name, r.Headers[name]))
		}
	}
	line("body", fmt.Sprintf("%d bytes", len(r.Body)))
	if len(r.Body) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSuffix(shownBody(r), "\n"))
	}
	fmt.Fprintln(w)
}

// shownBody is a body for people.
func shownBody(r *parked.Request) string {
	body, err := wire.ParkedBody(&r.Message)
	if err != nil { // it is not what it is said to be
		return hex.Dump(r.Body)
	}
	kind := rpc.ContentTypeJSON
	if codec, err := rpc.CodecFor(r.ContentType); r.ContentType != "" && err == nil {
		kind = codec.ContentType()
	}
	var indented bytes.Buffer
	switch {
	case kind == rpc.ContentTypeJSON && json.Indent(&indented, body, "", "  ") == nil:
		return printable(indented.String(), "\n")
	case utf8.Valid(body) && (kind == rpc.ContentTypeJSON || kind == rpc.ContentTypeText):
		return printable(string(body), "\n\t")
	}
	return hex.Dump(body)
}
