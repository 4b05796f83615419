package config

import "strings"

// A KeyError is one thing that is wrong with a configuration.
type KeyError struct {
	Source  string // a file, a variable of the environment or a flag; empty if it is not known yet
	Key     string // such as services[0].workers; empty if the source says it
	Problem string // says what would be right
}

func (e *KeyError) Error() string {
	text := e.Problem
	if e.Key != "" {
		text = e.Key + ": " + text
	}
	if e.Source != "" {
		text = e.Source + ": " + text
	}
	return text
}

// Errors is all that is wrong with a configuration, at least one thing.
type Errors []error

func (e Errors) Error() string {
	var lines []string
	for _, err := range e {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns all of them.
func (e Errors) Unwrap() []error { return e }
