//go:build !unix

package failpoint

func freeze() { select {} } // as near as it gets
