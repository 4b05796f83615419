package chaos_test

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// plainCopy is the least that a proxy can be: bytes from one socket to the other.
func plainCopy(b *testing.B) *line {
	b.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
		return l
	}
	dial := func(l net.Listener) (dialled, accepted net.Conn) {
		dialled, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		if accepted, err = l.Accept(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { dialled.Close(); accepted.Close() })
		return dialled, accepted
	}
	client, in := dial(listen())
	out, broker := dial(listen())
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() { // not splice, which no proxy can do that looks at what it forwards
			io.CopyBuffer(struct{ io.Writer }{way[1]}, struct{ io.Reader }{way[0]}, make([]byte, 64<<10))
		}()
	}
	return &line{b, client.(*net.TCPConn), broker.(*net.TCPConn)}
}

func BenchmarkProxy(b *testing.B) {
	proxied := func(faults ...chaos.Fault) func(*testing.B) *line {
		return func(b *testing.B) *line {
			r := newRig(b)
			for _, f := range faults {
				r.Inject(f)
			}
			return r.connect("")
		}
	}
	for _, way := range []struct {
		name string
		line func(*testing.B) *line
	}{
		{"copy", plainCopy},
		{"proxy", proxied()},
		{"idle faults", proxied(chaos.Drop{Method: "basic.nack"}, chaos.Cut{Method: "basic.publish", Nth: 1 << 40}, chaos.Stall{Conn: "x"})},
	} {
		for _, size := range []int{100, 1000, 100_000} {
			message := flat(content(40, 1, string(make([]byte, size))))
			b.Run(way.name+"/stream/"+sizes[size], func(b *testing.B) {
				l := way.line(b)
				noDeadline(l)
				batch := slices.Repeat(message, max(1, 64<<10/len(message)))
				n := b.N/(len(batch)/len(message)) + 1
				b.SetBytes(int64(len(message)))
				go func() {
					for range n {
						l.client.Write(batch)
					}
				}()
				b.ResetTimer()
				if _, err := io.CopyN(io.Discard, l.broker, int64(n*len(batch))); err != nil {
					b.Fatal(err)
				}
			})
		}
		b.Run(way.name+"/round trip", func(b *testing.B) {
			l := way.line(b)
			noDeadline(l)
			message := flat(content(40, 1, string(make([]byte, 100))))
			for b.Loop() {
				l.pass(chaos.ToBroker, message)
				l.pass(chaos.ToClient, message)
			}
		})
	}
}

var sizes = map[int]string{100: "100B", 1000: "1kB", 100_000: "100kB"}

func noDeadline(l *line) {
	for _, c := range []net.Conn{l.client, l.broker} {
		c.SetDeadline(time.Time{})
	}
}
