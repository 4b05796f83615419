package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFindPostgres(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{
		"lib/9.6/bin/initdb", "lib/9.6/bin/postgres",
		"lib/15/bin/initdb", "lib/15/bin/postgres",
		"lib/16/bin/psql", // only the client
		"old/9.6/bin/initdb", "old/9.6/bin/postgres",
		"tar/bin/initdb", "tar/bin/postgres",
		"half/bin/postgres",
	} {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(in("links"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(in("tar/bin/postgres"), in("links/postgres")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, named, path, pattern string
		want                       string // "" for ErrNoPostgres
	}{
		{"newest version with a server", "", in("tar/bin"), in("lib/*/bin"), in("lib/15/bin")},
		{"version before 10", "", "", in("old/*/bin"), in("old/9.6/bin")},
		{"on PATH", "", in("tar/bin"), in("none/*/bin"), in("tar/bin")},
		{"symlink on PATH", "", in("links"), in("none/*/bin"), in("tar/bin")},
		{"named", in("tar/bin"), "", in("lib/*/bin"), in("tar/bin")},
		{"half of it named", in("half/bin"), in("tar/bin"), in("lib/*/bin"), ""},
		{"half of it on PATH", "", in("half/bin"), in("none/*/bin"), ""},
		{"nothing anywhere", "", in("none"), in("none/*/bin"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			got, err := findPostgres(tt.named, tt.pattern)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (tt.want == "") != errors.Is(err, ErrNoPostgres) {
				t.Errorf("got error %v", err)
			}
		})
	}
}
