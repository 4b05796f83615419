package chaos

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// ErrNoPostgres tells that there is no PostgreSQL to run, and what to do about it.
var ErrNoPostgres = errors.New("PostgreSQL not found: install it (apt-get install postgresql, or make install-postgres), " +
	"or set POSTGRES_BIN to the folder of initdb and postgres")

// Where Debian's packages put each version's programs. Not all that is there has the server.
const debianPostgres = "/usr/lib/postgresql/*/bin"

// findPostgres returns the folder of the server's programs: the one that is named, else the newest version's of those
// that match the pattern, else one on PATH.
func findPostgres(named, pattern string) (string, error) {
	if named != "" {
		if !hasPostgres(named) {
			return "", fmt.Errorf("look up POSTGRES_BIN: no initdb and postgres in %s: %w", named, ErrNoPostgres)
		}
		return filepath.Abs(named)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("look up PostgreSQL: %w", err)
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append(found, filepath.Dir(path))
		}
	}
	for _, bin := range found {
		if hasPostgres(bin) {
			return filepath.Abs(bin)
		}
	}
	return "", ErrNoPostgres
}

func hasPostgres(bin string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(bin, name)); err != nil {
			return false
		}
	}
	return true
}

// version returns the 15 of /usr/lib/postgresql/15/bin. Versions before 10 are of another age.
func version(bin string) int {
	v, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return v
}
