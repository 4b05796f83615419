package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// wanted is what a flag of each type takes, for people.
var wanted = map[string]string{
	"int":         "a whole number",
	"uint64":      "a whole number, 0 or more",
	"float64":     "a number, such as 0.5",
	"bool":        "true or false",
	"duration":    "a duration, such as 500ms, 10s or 1h",
	"intSlice":    "whole numbers, such as 1,16",
	"stringSlice": "texts with commas in between",
}

// flagError is an error of a command line's flags. It says what a flag takes, where the parser says how it has failed.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if want := wanted[e.GetFlag().Value.Type()]; want != "" {
			err = fmt.Errorf("--%s must be %s, got %q", e.GetFlag().Name, want, e.GetValue())
		}
	}
	return &usageError{cmd.CommandPath(), err}
}
