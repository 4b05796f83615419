package storetest

import (
	"errors"
	"os"
	"strings"
)

// add appends a line to the file, so that it is there whatever becomes of the process.
func add(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		_ = f.Close() // the first error counts
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lines returns what was added to the file: nothing, if it is not there.
func lines(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	return all, nil
}
