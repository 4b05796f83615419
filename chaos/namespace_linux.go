package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A namespace is a network of its own: with a loopback interface, and packet filters that nobody else notices. Processes and
// sockets stay in the namespace that they were made in. It ends with the last of them, and with this process, which holds
// it open: there is nothing to tidy up. A nil namespace is the one that this process is in.
type namespace struct{ file *os.File }

func newNamespace() (*namespace, error) {
	ns := new(namespace)
	err := inOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		f, err := os.Open(threadNamespace)
		ns.file = f
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make network namespace: %w: %w", err, ErrNoNamespace)
	}
	if err := ns.run("ip", "link", "set", "lo", "up"); err != nil {
		ns.close()
		return nil, err
	}
	return ns, nil
}

// The namespace of the thread that opens it. That of /proc/self would be the one of the main thread.
const threadNamespace = "/proc/thread-self/ns/net"

// do runs f in the namespace: what it connects and starts is there. Goroutines that f starts are not.
func (ns *namespace) do(f func() error) error {
	if ns == nil {
		return f()
	}
	return inOwnThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// inOwnThread runs f, which may leave the namespace, in a thread that is not used again unless it is back.
func inOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // without Unlock, the thread ends with the goroutine
		home, err := os.Open(threadNamespace)
		if err != nil {
			result <- err
			return
		}
		defer home.Close()
		err = f()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// run runs a command in the namespace.
func (ns *namespace) run(name string, args ...string) error {
	_, err := ns.output(name, args...)
	return err
}

// output runs a command in the namespace and returns what it prints.
func (ns *namespace) output(name string, args ...string) (string, error) {
	path, err := findTool(name)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := ns.do(cmd.Start); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, complaints.Bytes())
	}
	return out.String(), nil
}

// findTool finds a command that is not on everybody's PATH.
func findTool(name string) (string, error) {
	for _, try := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(try); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("look up %s: %w", name, ErrNoNamespace)
}

func (ns *namespace) close() {
	if ns != nil {
		ns.file.Close()
	}
}
