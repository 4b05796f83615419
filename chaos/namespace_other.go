//go:build !linux

package chaos

type namespace struct{}

func newNamespace() (*namespace, error) { return nil, ErrNoNamespace }

func (ns *namespace) do(f func() error) error { return f() }

func (ns *namespace) run(string, ...string) error { return ErrNoNamespace }

func (ns *namespace) output(string, ...string) (string, error) { return "", ErrNoNamespace }

func (ns *namespace) close() {}
