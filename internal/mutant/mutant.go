// Package mutant takes guards of the protocol away, one at a time, without a switch for it in the product: by the overlay
// files of the go command. Its test has package simulation find out. Tests with real processes build theirs with [Build].
package mutant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Mutant is the product without one guard.
type Mutant struct {
	Name   string
	Guard  string // what it is without
	Breaks string // the invariants of which one or more must break
	Real   bool   // package simulation cannot tell: it needs a real database or broker
	Edits  []Edit
}

// An Edit replaces Old, which is in the file once, by New. File is relative to the root of the module.
type Edit struct{ File, Old, New string }

// Overlay writes the files of a mutant into dir, and returns the file for the flag -overlay of go build and go test.
func Overlay(dir, name string) (file string, err error) {
	m, err := find(name)
	if err != nil {
		return "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	texts, err := m.texts(root)
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for original, text := range texts {
		changed := filepath.Join(dir, fmt.Sprintf("%s-%d-%s", name, len(replace), filepath.Base(original)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, original)] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, name+".json")
	return file, os.WriteFile(file, overlay, 0o600)
}

// Build builds a command of this module as a mutant, and returns the binary, which is in dir. pkg is the import path, or
// relative to the root of the module: ./cmd/rabbitrpc.
func Build(ctx context.Context, dir, name, pkg string) (binary string, err error) {
	return run(ctx, dir, name, "build", pkg)
}

// BuildTest is Build for the tests of a package.
func BuildTest(ctx context.Context, dir, name, pkg string) (binary string, err error) {
	return run(ctx, dir, name, "test", "-c", pkg)
}

func run(ctx context.Context, dir, name string, command ...string) (binary string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	overlay, err := Overlay(dir, name)
	if err != nil {
		return "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	binary = filepath.Join(dir, name+".bin")
	last := len(command) - 1
	args := append(command[:last:last], "-overlay", overlay, "-o", binary, command[last])
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mutant %s: %w\n%s", name, err, out)
	}
	return binary, nil
}

func find(name string) (Mutant, error) {
	for _, m := range All {
		if m.Name == name {
			return m, nil
		}
	}
	return Mutant{}, fmt.Errorf("there is no mutant %q", name)
}

// texts returns the files as the mutant has them.
func (m Mutant) texts(root string) (map[string]string, error) {
	texts := make(map[string]string)
	for _, e := range m.Edits {
		text, known := texts[e.File]
		if !known {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File)))
			if err != nil {
				return nil, fmt.Errorf("mutant %s: %w", m.Name, err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("mutant %s: %s has the old text %d times, not once: does the guard look different now?\n%s",
				m.Name, e.File, n, e.Old)
		}
		texts[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return texts, nil
}

// moduleRoot is the directory of go.mod, above the present one.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errors.New("mutant: no go.mod above the working directory")
		}
		dir = above
	}
}
