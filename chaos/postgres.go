package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// A Postgres is a private PostgreSQL server with the superuser postgres and a password of its own. It listens on the
// loopback interface only and keeps all that it writes in a temporary folder. What it has committed, it has flushed.
//
// Nothing of it is left running or on disk after Close, nor when this process panics, exits or is killed without it.
type Postgres struct {
	daemon
	port     int
	password string
}

// StartPostgres makes and starts a server, and waits until it answers. It runs the programs in the folder that the
// environment variable POSTGRES_BIN names, else the newest that Debian's packages have installed, else those on PATH.
// Since they refuse to run as root, for root they run as the user postgres, or else nobody, who must have the right to
// make a folder in TMPDIR. If the server fails to start, the error shows what it says.
func StartPostgres(ctx context.Context) (*Postgres, error) {
	bin, err := findPostgres(os.Getenv("POSTGRES_BIN"), debianPostgres)
	if err != nil {
		return nil, err
	}
	a, err := unprivileged()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	g, err := startGuard(a)
	if err != nil {
		return nil, err
	}
	p := &Postgres{port: port, password: rand.Text()}
	p.title, p.guard, p.end, p.strays = "postgres", g, interrupt, true
	p.probe = func(ctx context.Context, _ *process) error { return probePostgres(ctx, g.ns.dialer(), address(port)) }
	p.command = func() *exec.Cmd { return p.prepare(filepath.Join(bin, "postgres"), p.settings()...) }
	if err := p.init(ctx, filepath.Join(bin, "initdb")); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Postgres) init(ctx context.Context, initdb string) error {
	file := filepath.Join(p.guard.dir, "password")
	if err := os.WriteFile(file, []byte(p.password), 0o644); err != nil { // the folder is closed to others
		return fmt.Errorf("write password: %w", err)
	}
	log, _, err := openLog(p.Log())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.prepare(initdb, "--username=postgres", "--pwfile="+file, "--auth=scram-sha-256",
		"--encoding=UTF8", "--no-locale",
		"--no-sync") // what is lost with the machine's power is an empty database
	cmd.Stdout, cmd.Stderr = log, log
	if p.helper, err = p.guard.start(cmd); err != nil {
		return fmt.Errorf("start initdb: %w", err)
	}
	select {
	case <-p.helper.done:
	case <-ctx.Done():
		return fmt.Errorf("initdb: %w", context.Cause(ctx)) // the guard ends it, and removes its shared memory
	}
	if err := p.helper.err; err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, reason(p.Log(), 0))
	}
	return p.Start(ctx)
}

// prepare prepares a command that has hardly anything of this process's environment, or the settings for the machine's
// server would get in.
func (p *Postgres) prepare(program string, args ...string) *exec.Cmd {
	env := []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + p.guard.dir, "TMPDIR=" + p.guard.dir}
	return p.guard.command(env, program, append([]string{"-D", filepath.Join(p.guard.dir, "data")}, args...)...)
}

func (p *Postgres) settings() (args []string) {
	for _, s := range []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(p.port),
		"unix_socket_directories=",
		"max_connections=200",
		"shared_buffers=16MB",
		"cluster_name=" + filepath.Base(p.guard.dir), // for ps
		"dynamic_shared_memory_type=mmap",            // files in the folder, which go with it
	} {
		args = append(args, "-c", s)
	}
	return args
}

// URL returns the address for clients, of the database postgres. It stays the same through Stop, Kill and Start.
func (p *Postgres) URL() string {
	return "postgres://postgres:" + p.password + "@" + address(p.port) + "/postgres?sslmode=disable"
}
