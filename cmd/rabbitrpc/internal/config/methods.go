package config

import (
	"slices"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// CheckMethods reports what cannot be right with the methods of a kind that has a list of them, under the key methods.
func CheckMethods(names []string) error {
	if len(names) == 0 {
		return &KeyError{Key: "methods", Problem: "is missing: a list of the methods that it answers, such as [get, list]"}
	}
	for i, name := range names {
		problem := ""
		if err := wire.CheckMethod(name); err != nil {
			problem = err.Error()
		} else if strings.HasPrefix(name, "rpc.") {
			problem = name + " is reserved, as are all that begin with rpc."
		} else if slices.Contains(names[:i], name) {
			problem = name + " is there twice"
		}
		if problem != "" {
			return &KeyError{Key: "methods", Problem: problem}
		}
	}
	return nil
}
