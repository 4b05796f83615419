package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// install is where the programs of one installation of RabbitMQ are.
type install struct {
	server, ctl string
	epmd        string // Erlang's name service, with which the nodes of a machine find each other
}

// ErrNotInstalled tells that there is no RabbitMQ to run, and what to do about it.
var ErrNotInstalled = errors.New("RabbitMQ not found: install it (apt-get install rabbitmq-server, or make install-broker), " +
	"or set RABBITMQ_SERVER to the path of a rabbitmq-server")

// Where packages put the script and its wrapper, not all of them on everybody's PATH.
var serverPlaces = []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/sbin/rabbitmq-server"}

func findInstall() (install, error) {
	server, err := findServer(os.Getenv("RABBITMQ_SERVER"), serverPlaces)
	if err != nil {
		return install{}, err
	}
	epmd, err := findEpmd()
	if err != nil {
		return install{}, err
	}
	return install{server: server, ctl: filepath.Join(filepath.Dir(server), "rabbitmqctl"), epmd: epmd}, nil
}

// findServer returns the server script: the one that is named, else the one on PATH, else the one in one of the places.
func findServer(named string, places []string) (string, error) {
	if named != "" {
		path, err := serverScript(named)
		if err == nil {
			return path, nil
		}
		if !slices.Contains(places, named) { // or it is the wrapper of what is in another of the places
			return "", fmt.Errorf("look up RABBITMQ_SERVER: %w: %w", err, ErrNotInstalled)
		}
	}
	for _, name := range append([]string{"rabbitmq-server"}, places...) {
		if path, err := serverScript(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// serverScript returns where name leads to. The error tells that this is not a server's own script, which has its name
// and rabbitmq-env beside it. Debian and others put a symlink on PATH that leads to a wrapper: that insists on the
// system's user and folders, and under its own name it runs itself, without end.
func serverScript(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	if filepath.Base(path) != "rabbitmq-server" {
		return path, fmt.Errorf("%s is not a rabbitmq-server", path)
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(path), "rabbitmq-env"))
	return path, err
}

// findEpmd returns the epmd on PATH, or the one that came with the erl on PATH.
func findEpmd() (string, error) {
	if path, err := exec.LookPath("epmd"); err == nil {
		return filepath.Abs(path)
	}
	erl, err := exec.LookPath("erl")
	if err != nil {
		return "", fmt.Errorf("look up Erlang: %w: %w", err, ErrNotInstalled)
	}
	if erl, err = filepath.EvalSymlinks(erl); err != nil {
		return "", fmt.Errorf("look up Erlang: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(erl), "..", "erts-*", "bin", "epmd"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("look up epmd beside %s: %w", erl, ErrNotInstalled)
	}
	return found[0], nil
}
