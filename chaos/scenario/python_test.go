package scenario_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

// What docs/chaos.md asks of a server can be kept in another language, with effects that happen exactly once.
func TestPython(t *testing.T) {
	long(t)
	script, err := filepath.Abs("testdata/bank.py")
	if err != nil {
		t.Fatal(err)
	}
	lab := openLab(t, scenario.Config{Seed: 1, Callers: 8, Store: bank.StorePostgres, Server: []string{python(t), script}})
	for _, name := range []string{"reset", "servers-killed", "store-killed"} {
		t.Run(name, func(t *testing.T) {
			found, err := scenario.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			run(t, lab, found[0])
		})
	}
}

// python finds a Python that has what the server needs. The first on PATH may be one that the system's packages are not for.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import pika, psycopg2").Run() == nil {
			return name
		}
	}
	t.Skip("no python3 with pika and psycopg2: run scripts/install python3-pika python3-psycopg2")
	return ""
}
