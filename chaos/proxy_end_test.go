package chaos_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// A half-open connection takes everything, and delivers nothing, not even its end, also after it is healed. New
// connections are as they should be.
func TestHalfOpenConnection(t *testing.T) {
	inEach(t, func(t *testing.T, r *rig, l *line, dir chaos.Direction) {
		untouched := r.connect("")
		in := r.Inject(chaos.HalfOpen{Dir: dir})
		fresh := r.connect("")
		fresh.pass(dir, commit)
		l.pass(against(dir), commit)
		from, _ := l.ends(dir)
		if _, err := from.Write(make([]byte, 32<<20)); err != nil {
			t.Fatalf("the sender was blocked: %v", err)
		}
		until(t, "bite", func() bool { return in.Bites() > 0 })
		in.Heal()
		l.send(dir, commit)
		from.CloseWrite()
		l.pass(against(dir), commit)
		untouched.pass(dir, commit)
		reset := r.Inject(chaos.Reset{Dir: dir})
		bites(t, reset, 3)
		l.last(dir, nil, syscall.ECONNRESET)
	})
}

func TestHalfOpenSwallowsTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*net.TCPConn)
	}{
		{"FIN", func(c *net.TCPConn) { c.Close() }},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
	} {
		inEach(t, func(t *testing.T, r *rig, l *line, dir chaos.Direction) {
			l.pass(chaos.ToBroker, commit) // the proxy has both ends
			in := r.Inject(chaos.HalfOpen{Dir: dir})
			from, to := l.ends(dir)
			tt.end(from)
			until(t, "bite", func() bool { return in.Bites() > 0 })
			for range 3 {
				if _, err := to.Write(commit); err != nil { // to nobody
					t.Errorf("%s: the receiver was told: %v", tt.name, err)
				}
			}
			bites(t, r.Inject(chaos.HangUp{Dir: dir}), 1)
			l.last(dir, nil, io.EOF)
		})
	}
}

// All or one of the two learn that a connection is over. The other end stays open until it is closed.
func TestResetAndHangUp(t *testing.T) {
	for _, dir := range []chaos.Direction{chaos.Both, chaos.ToBroker, chaos.ToClient} {
		for _, tt := range []struct {
			fault chaos.Fault
			end   error
		}{{chaos.Reset{Dir: dir, Conn: "mine"}, reset}, {chaos.HangUp{Dir: dir, Conn: "mine"}, io.EOF}} {
			t.Run(tt.fault.String(), func(t *testing.T) {
				r := newRig(t)
				mine, other := r.connect("mine"), r.connect("other")
				in := r.Inject(tt.fault)
				bites(t, in, 1)
				for _, told := range oneWay {
					if dir == chaos.Both || dir == told {
						mine.last(told, nil, tt.end)
						continue
					}
					mine.send(against(told), commit) // swallowed
					bites(t, r.Inject(chaos.HangUp{Conn: "mine"}), 1)
					mine.last(told, nil, io.EOF)
				}
				for _, d := range oneWay {
					other.pass(d, commit)
				}
				next := r.connect("mine")
				next.pass(chaos.ToClient, commit)
			})
		}
	}
}

// A cut is possible after any number of bytes, also within a frame, and whatever the protocol.
func TestCutAfterBytes(t *testing.T) {
	inEach(t, func(t *testing.T, r *rig, l *line, dir chaos.Direction) {
		l.pass(dir, commit)
		in := r.Inject(chaos.Cut{Bytes: len(commit) + 5, Dir: dir})
		l.pass(against(dir), slices.Repeat(commit, 3))
		l.send(dir, slices.Repeat(commit, 3))
		l.last(dir, join(commit, commit[:5]), reset)
		bites(t, in, 1)
	})
	r := newRig(t)
	in := r.Inject(chaos.Cut{Bytes: 0, Nth: 2, Dir: chaos.ToClient})
	first, second := r.connect(""), r.connect("")
	for range 3 {
		first.pass(chaos.ToClient, commit)
	}
	second.send(chaos.ToClient, commit)
	second.last(chaos.ToClient, nil, reset)
	first.pass(chaos.ToClient, commit)
	bites(t, in, 1)
}

func TestRefuse(t *testing.T) {
	r := newRig(t)
	l := r.connect("")
	for range 3 {
		in, again := r.Inject(chaos.Refuse{}), r.Inject(chaos.Refuse{})
		for _, in := range []*chaos.Injection{in, again} {
			if _, err := r.dial(); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("got %v, want connection refused", err)
			}
			bites(t, in, 1)
			in.Heal()
		}
		l.pass(chaos.ToBroker, commit)
		r.connect("").pass(chaos.ToClient, commit)
	}
}

func TestImpostor(t *testing.T) {
	for _, f := range []chaos.Impostor{{}, {Says: chaos.HTTP}, {Closes: true}, {Says: chaos.HTTP, Closes: true}} {
		t.Run(f.String(), func(t *testing.T) {
			r := newRig(t)
			before := r.connect("")
			in := r.Inject(f)
			c, err := r.dial()
			if err != nil {
				t.Fatal(err)
			}
			caught := &line{t, c, nil}
			caught.send(chaos.ToBroker, []byte(greeting))
			caught.expect(chaos.ToClient, []byte(f.Says))
			bites(t, in, 1)
			in.Heal()
			r.connect("").pass(chaos.ToClient, commit) // the next one that the broker sees
			before.pass(chaos.ToClient, commit)
			if f.Closes {
				caught.last(chaos.ToClient, nil, io.EOF)
			} else {
				bites(t, r.Inject(chaos.Reset{}), 3)
				caught.last(chaos.ToClient, nil, reset)
			}
		})
	}
}
