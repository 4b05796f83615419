package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const maxBody = 16 << 20 // RabbitMQ 4 takes no more

// request makes the request that the arguments ask for.
func (f *callFlags) request(cmd *cobra.Command, args []string) (*rpc.Request, error) {
	r := &rpc.Request{ContentType: f.contentType}
	body := "{}"
	if f.queue == "" {
		r.Service, r.Method, args = args[0], args[1], args[2:]
	} else {
		body = ""
	}
	if r.ContentType == "" {
		r.ContentType = rpc.ContentTypeJSON
		if f.queue != "" {
			r.ContentType = rpc.ContentTypeText
		}
	}
	if len(args) > 0 {
		body = args[0]
	}
	r.Body = []byte(body)
	if body == "-" {
		var err error
		if r.Body, err = readBody(cmd.InOrStdin()); err != nil {
			return nil, err
		}
		if r.ContentType == rpc.ContentTypeText {
			r.Body = bytes.TrimSuffix(bytes.TrimSuffix(r.Body, []byte("\n")), []byte("\r"))
		}
	}
	if r.ContentType == rpc.ContentTypeJSON && body == "-" && len(bytes.TrimSpace(r.Body)) == 0 {
		return nil, usagef(cmd, "standard input is empty: the request is to be JSON, {} for none")
	}
	if r.ContentType == rpc.ContentTypeJSON && !json.Valid(r.Body) {
		return nil, usagef(cmd, `the request is not JSON; a string needs its quotes: '"text"'`)
	}
	return r, nil
}

func readBody(in io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(in, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("standard input has more than %d bytes", maxBody)
	}
	return body, nil
}

// writeBody writes a reply: as it is, but not to a terminal, which would act on what is in it.
func writeBody(out io.Writer, body []byte) error {
	text := string(body)
	if isTerminal(out) {
		text = printable(text, "\n\t")
	}
	if _, err := io.Copy(out, strings.NewReader(text+"\n")); err != nil {
		return fmt.Errorf("the call has succeeded, but its reply cannot be written: %w", err)
	}
	return nil
}
