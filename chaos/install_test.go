package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFindServer(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{
		"usr/bin/rabbitmq-server", // a wrapper that is a file, and one that is a symlink, see below
		"lib/bin/wrapper", "lib/bin/rabbitmq-env",
		"lib/rabbitmq-1/sbin/rabbitmq-server", "lib/rabbitmq-1/sbin/rabbitmq-env",
		"tar/sbin/rabbitmq-server", "tar/sbin/rabbitmq-env",
		"else/rabbitmq-server",
	} {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"lib/bin/rabbitmq-server": "lib/rabbitmq-1/sbin/rabbitmq-server", "sbin/rabbitmq-server": "lib/bin/wrapper"} {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(in(to), in(name)); err != nil {
			t.Fatal(err)
		}
	}
	wrapper, system, tarball := in("sbin/rabbitmq-server"), in("lib/rabbitmq-1/sbin/rabbitmq-server"), in("tar/sbin/rabbitmq-server")
	places := []string{in("lib/bin/rabbitmq-server"), wrapper}

	for _, tt := range []struct {
		name   string
		named  string
		path   string
		places []string
		want   string // "" for ErrNotInstalled
	}{
		{"wrapper on PATH", "", in("sbin"), places, system},
		{"other wrapper on PATH", "", in("usr/bin"), places, system},
		{"nothing on PATH", "", in("tar"), places, system},
		{"tarball on PATH", "", in("tar/sbin"), places, tarball},
		{"tarball named", tarball, in("sbin"), places, tarball},
		{"symlink named", in("lib/bin/rabbitmq-server"), "", nil, system},
		{"wrapper named", wrapper, "", places, system},
		{"other named, not the system's", in("else/rabbitmq-server"), in("sbin"), places, ""},
		{"nothing there", in("gone"), in("sbin"), places, ""},
		{"nothing anywhere", "", in("tar"), nil, ""},
		{"wrapper of nothing", "", in("sbin"), []string{wrapper}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			got, err := findServer(tt.named, tt.places)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (tt.want == "") != errors.Is(err, ErrNotInstalled) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestFindEpmd(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	epmd := filepath.Join(root, "erlang/erts-9/bin/epmd")
	erl := filepath.Join(root, "erlang/bin/erl")
	for _, f := range []string{epmd, erl} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, path, want string }{
		{"on PATH", filepath.Dir(epmd), epmd},
		{"beside erl", filepath.Dir(erl), epmd},
		{"nowhere", root, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			got, err := findEpmd()
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
