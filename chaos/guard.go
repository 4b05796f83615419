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

// A guard is a small shell that owns a server's folder and outlives this process: when the pipe that only this process
// writes to is closed, for whatever reason, it kills what the server has running and removes the folder.
type guard struct {
	dir     string     // the server's folder
	account *account   // of the guard and the server
	ns      *namespace // that the server is in
	cmd     *exec.Cmd
	pipe    io.Closer
}

// The guard makes the folder itself, so that there is no moment without somebody to remove it. Each process group of the
// server has an entry in run, by its number. Once run is taken away, a process that has no entry yet cannot make one, and
// does not start.
//
// PostgreSQL needs more. Its processes leave the group, but not the folder data that they work in; a paused one would never
// see that its parent is gone. And the system keeps its shared memory: initdb's is found in the maps of its processes, the
// server's in line 7 of a file.
const guardScript = `
trap '' HUP INT QUIT TERM
exec 2>&1
dir=$(mktemp -d "$1/rabbitrpc-chaos-XXXXXX") && mkdir "$dir/run" || exit
printf '%s\n' "$dir"
exec >/dev/null 2>&1
while read -r _; do :; done
mv "$dir/run" "$dir/dead"

groups() { for group in "$dir/dead"/*; do kill -s "$1" -- "-${group##*/}"; done; }
workers() { for process in /proc/[0-9]*; do [ "$process/cwd" -ef "$dir/data" ] && echo "$process"; done; }

groups STOP # no new processes, and no new memory
memory=$(for process in $(workers); do sed -n 's|.* \(/dev/shm/PostgreSQL\.[0-9]*\)$|\1|p' "$process/maps"; done)
segment=$(sed -n 7p "$dir/data/postmaster.pid")
groups KILL
rm -f $memory
ipcrm -m "${segment##* }"
tries=50 # those killed may still be at their last write
until [ -z "$(workers)" ] && rm -rf "$dir" || [ $((tries -= 1)) -eq 0 ]; do
	for process in $(workers); do kill -s KILL "${process##*/}"; done
	sleep 0.1
done
`

// enterScript runs a command as a process group that the guard knows from before the command's first instruction.
const enterScript = `mkdir "$1/$$" && shift && exec "$@"`

func startGuard(a *account) (*guard, error) {
	temp, err := filepath.Abs(os.TempDir())
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "sh", temp)
	cmd.Dir = "/"
	cmd.SysProcAttr = ownGroup(a) // or the Ctrl-C that ends this process ends the guard, too
	pipe, err := cmd.StdinPipe()  // closed on exec: no other child can hold it open
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
	g := &guard{dir: strings.TrimSuffix(line, "\n"), account: a, cmd: cmd, pipe: pipe}
	if !filepath.IsAbs(g.dir) { // then it is what mktemp says
		pipe.Close()
		cmd.Wait()
		if a != nil {
			return nil, fmt.Errorf("start guard as user %s: %s", a.name, g.dir)
		}
		return nil, fmt.Errorf("start guard: %s", g.dir)
	}
	return g, nil
}

// command prepares a command that lives in the guard's folder.
func (g *guard) command(env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", append([]string{"-c", enterScript, "sh", g.runDir(), name}, args...)...)
	cmd.Env, cmd.Dir = env, g.dir
	cmd.SysProcAttr = ownGroup(g.account)
	return cmd
}

func (g *guard) runDir() string { return filepath.Join(g.dir, "run") }

// close makes the guard do its work, and waits for its end, and that of a process that the guard has ended.
func (g *guard) close(last *process) error {
	g.pipe.Close()
	g.cmd.Wait() // what went wrong shows below
	last.kill()  // nothing is left to do, unless somebody has killed the guard
	return os.RemoveAll(g.dir)
}
