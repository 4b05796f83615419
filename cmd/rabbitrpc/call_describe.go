package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// described shows what a server says of a method.
func (f *callFlags) described(ctx context.Context, out io.Writer, c *client.Client, r *rpc.Request) error {
	d, err := client.Describe(ctx, c, r.Service, r.Method)
	if e, ok := errors.AsType[*rpc.Error](err); ok && e.Code == rpc.Unimplemented && strings.Contains(e.Message, "rpc.describe") {
		return &hintedError{err, "that server is of a version that does not describe its methods"}
	}
	if err != nil {
		return err
	}
	if f.output == "json" {
		return writeLine(out, d)
	}
	_, err = io.WriteString(out, printable(description(r, &d), "\n"))
	return err
}

// description is what a server says of the method that r names. What is to be copied into a shell has no name of the server's.
func description(r *rpc.Request, d *rpc.Description) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s", r.Service, r.Method)
	if d.ContentType != "" {
		fmt.Fprintf(&text, ", %s", d.ContentType)
	}
	text.WriteString("\n")
	if d.Doc != "" {
		fmt.Fprintf(&text, "\n%s\n", d.Doc)
	}
	section(&text, "request", d.Request)
	section(&text, "result", d.Result)
	if example := exampleOf(d.Request); example != "" {
		fmt.Fprintf(&text, "\nexample:\n  rabbitrpc call %s %s '%s'\n", r.Service, r.Method, example)
	}
	return text.String()
}

func section(text *strings.Builder, name string, schema json.RawMessage) {
	var indented bytes.Buffer
	if json.Indent(&indented, schema, "  ", "  ") != nil || len(schema) == 0 {
		fmt.Fprintf(text, "\n%s: no schema is known\n", name)
		return
	}
	fmt.Fprintf(text, "\n%s:\n  %s\n", name, indented.Bytes())
}

const (
	exampleDepth = 4        // of objects and arrays in an example
	maxSchema    = 32 << 10 // bytes that servers have in one
)

// exampleOf makes a value that a schema allows, or little more than its outline. It is "" without a schema, for one that is
// too long, and for what a shell would not take in single quotes.
func exampleOf(schema json.RawMessage) string {
	var root jsonschema.Schema
	if len(schema) == 0 || len(schema) > maxSchema || json.Unmarshal(schema, &root) != nil {
		return ""
	}
	text, err := json.Marshal(exampleValue(&root, root.Definitions, exampleDepth))
	if err != nil || bytes.ContainsRune(text, '\'') {
		return ""
	}
	return string(text)
}

func exampleValue(s *jsonschema.Schema, all jsonschema.Definitions, depth int) any {
	if s == nil { // a null, which is no schema
		return nil
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok && all[name] != nil && depth > 0 {
		return exampleValue(all[name], all, depth-1)
	}
	switch s.Type {
	case "string":
		return ""
	case "boolean":
		return false
	case "integer", "number":
		return 0
	case "array":
		if s.Items == nil || depth == 0 {
			return []any{}
		}
		return []any{exampleValue(s.Items, all, depth-1)}
	case "object":
		object := make(map[string]any)
		if depth > 0 && s.Properties != nil {
			for p := s.Properties.Oldest(); p != nil; p = p.Next() {
				if slices.Contains(s.Required, p.Key) {
					object[p.Key] = exampleValue(p.Value, all, depth-1)
				}
			}
		}
		return object
	}
	return nil
}
