//go:build unix

package storetest

import (
	"syscall"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// frozen has a call run by a process that freezes after a step, comes back when another has taken over, and must then
// neither answer otherwise nor change what is stored.
func (w *world) frozen(t *testing.T, at Step) {
	first := w.start(t, 0, string(at)+"=freeze")
	first.waitFrozen(t)

	second := w.start(t, 1, "").one(t)
	if err := w.whileFrozen(at).check(second); err != nil {
		t.Fatalf("while the first is frozen: %v", err)
	}

	if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	zombie := first.one(t)
	switch {
	case zombie == nil:
		t.Fatal("the first was killed, want it back")
	case zombie.Code == second.Code && zombie.Body == second.Body:
	case zombie.Code == rpc.OK:
		t.Errorf("the first answered %q and the second %q, want one outcome", zombie.Body, second.Body)
	case w.Survives == Outcomes && (zombie.Executed == rpc.ExecutedNo || !zombie.Lost):
		t.Errorf("the first answered %+v, want that it has lost its claim, and that it may have had an effect", *zombie)
	}

	third := w.start(t, 2, "").one(t)
	if third == nil || third.Code != second.Code || third.Body != second.Body {
		t.Errorf("answers %+v and then %+v, want one outcome", second, third)
	}
	if got, least, most := w.count(t, callID(1)), 1, w.mostEffects(at); got < least || got > most {
		t.Errorf("%d effects, want %d to %d", got, least, most)
	}
}

// whileFrozen is what a second process answers when the first is frozen.
func (w *world) whileFrozen(at Step) *answer {
	h := history{survives: w.Survives, atMostOnce: w.atMostOnce}
	h.process(0, at)
	return h.process(1, "")
}

// mostEffects is what a call may have if its first process comes back after another took over. A lease does not stop who
// has lost it from making an effect: only its transaction does.
func (w *world) mostEffects(at Step) int {
	if w.Survives == Effects || w.atMostOnce || at == Stored {
		return 1
	}
	return 2
}

// waitFrozen returns when the process has frozen itself.
func (p *process) waitFrozen(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // a frozen process would stay if the test fails
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the process ended (%v, %v), want it frozen\n%s", status, err, p.stderr.Bytes())
	}
}
