//go:build unix && !linux

package execrpc

import "syscall"

// dieWithParent does nothing: only Linux ends a child with its parent.
func dieWithParent(*syscall.SysProcAttr) {}

// wait returns when the program has ended and its output was read. What it has left behind is killed at once after.
func (g *group) wait() error {
	defer g.killRest()
	return g.cmd.Wait()
}
