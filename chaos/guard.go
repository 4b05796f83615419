package chaos

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A guard is a small shell that owns a node's folder and outlives this process: when the pipe that only this process
// writes to is closed, for whatever reason, it kills what the node has running and removes the folder.
type guard struct {
	dir  string // the node's folder
	cmd  *exec.Cmd
	pipe io.Closer
}

// The guard makes the folder itself, so that there is no moment without somebody to remove it. Each process group of the
// node has an entry in run, by its number. Once run is taken away, a process that has no entry yet cannot make one, and
// does not start.
const guardScript = `
trap '' HUP INT QUIT TERM
exec 2>&1
dir=$(mktemp -d "$1/rabbitrpc-chaos-XXXXXX") && mkdir "$dir/run" || exit
printf '%s\n' "$dir"
exec >/dev/null 2>&1
while read -r _; do :; done
mv "$dir/run" "$dir/dead"
for group in "$dir/dead"/*; do
	kill -s KILL -- "-${group##*/}"
done
tries=50 # those killed may still be at their last write
until rm -rf "$dir" || [ $((tries -= 1)) -eq 0 ]; do
	sleep 0.1
done
`

// enterScript runs a command as a process group that the guard knows from before the command's first instruction.
const enterScript = `mkdir "$1/$$" && shift && exec "$@"`

func startGuard() (*guard, error) {
	temp, err := filepath.Abs(os.TempDir())
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "sh", temp)
	cmd.Dir = "/"
	cmd.SysProcAttr = ownGroup() // or the Ctrl-C that ends this process ends the guard, too
	pipe, err := cmd.StdinPipe() // closed on exec: no other child can hold it open
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	g := &guard{dir: strings.TrimSuffix(line, "\n"), cmd: cmd, pipe: pipe}
	if !filepath.IsAbs(g.dir) { // then it is what mktemp says
		pipe.Close()
		cmd.Wait()
		return nil, fmt.Errorf("start guard: %s", g.dir)
	}
	return g, nil
}

// command prepares a command that lives in the guard's folder.
func (g *guard) command(env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", append([]string{"-c", enterScript, "sh", g.runDir(), name}, args...)...)
	cmd.Env, cmd.Dir = env, g.dir
	cmd.SysProcAttr = ownGroup()
	return cmd
}

func (g *guard) runDir() string { return filepath.Join(g.dir, "run") }

// close makes the guard do its work, and waits for its end.
func (g *guard) close() error {
	g.pipe.Close()
	g.cmd.Wait()               // what went wrong shows in the next line
	return os.RemoveAll(g.dir) // nothing is left to do, unless somebody has killed the guard
}
