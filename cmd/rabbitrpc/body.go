package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const maxBody = 16 << 20 // RabbitMQ 4 takes no more

// request makes the request that the arguments and flags ask for.
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
	var err error
	if r.Header, err = f.header(cmd); err != nil {
		return nil, err
	}
	if r.Body, err = readBody(cmd, body, r.ContentType); err != nil {
		return nil, err
	}
	if r.ContentType == rpc.ContentTypeJSON && !json.Valid(r.Body) {
		return nil, usagef(cmd, `the request is not JSON; a string needs its quotes: '"text"'`)
	}
	return r, nil
}

var negative = regexp.MustCompile(` in (-[0-9].*)$`)

// minusHint says how a request may be a negative number, which looks like a flag.
func minusHint(cmd *cobra.Command, err error) error {
	if m := negative.FindStringSubmatch(err.Error()); m != nil {
		return &hintedError{err, "a request may begin with a minus after --, as in: " + cmd.CommandPath() + " math fib -- " + m[1]}
	}
	return flagError(cmd, err)
}

// header reads what -H says.
func (f *callFlags) header(cmd *cobra.Command) (rpc.Header, error) {
	header := make(rpc.Header, len(f.headers))
	for _, one := range f.headers {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return nil, usagef(cmd, "a header is NAME=VALUE, got %q", one)
		}
		header[name] = value
	}
	return header, nil
}

// readBody returns the body that an argument gives: itself, standard input for -, a file for @FILE.
func readBody(cmd *cobra.Command, argument, contentType string) ([]byte, error) {
	name, in := "standard input", cmd.InOrStdin()
	file, isFile := strings.CutPrefix(argument, "@")
	switch {
	case isFile:
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef(cmd, "the request cannot be read: %w", err)
		}
		defer f.Close()
		name, in = file, f
	case argument != "-":
		return []byte(argument), nil
	}
	body, err := io.ReadAll(io.LimitReader(in, maxBody+1))
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // name is the path
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxBody)
	case contentType == rpc.ContentTypeText:
		return bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r")), nil
	case contentType == rpc.ContentTypeJSON && len(bytes.TrimSpace(body)) == 0:
		return nil, usagef(cmd, "%s is empty: the request is to be JSON, {} for none", name)
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
		return unwritten(err)
	}
	return nil
}
