//go:build !unix

package storetest

import "testing"

func (w *world) frozen(t *testing.T, _ Step) { t.Skip("processes cannot be frozen here") }
