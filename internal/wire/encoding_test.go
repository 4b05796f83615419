package wire_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func gzipped(parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&b)
		w.Write(p)
		w.Close()
	}
	return b.Bytes()
}

var encoder = sync.OnceValue(func() *zstd.Encoder {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err)
	}
	return w
})

// zstded makes one frame of each part: those that say how long they are, as encoders do that know it.
func zstded(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = encoder().EncodeAll(p, b)
	}
	return b
}

// streamed makes a frame of zstd that does not say how long it is.
func streamed(window int, parts ...[]byte) []byte {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		panic(err)
	}
	for _, p := range parts {
		w.Write(p)
		w.Flush()
	}
	w.Close()
	return b.Bytes()
}

// A zstdHeader is the beginning of a frame made by hand: no encoder writes all of these.
func zstdHeader(descriptor byte, rest ...byte) []byte {
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, descriptor}, rest...)
}

// zeros is a block of zstd that stands for n bytes in 4.
func zeros(n int, last bool) []byte {
	h := uint32(n)<<3 | 1<<1
	if last {
		h |= 1
	}
	return append(binary.LittleEndian.AppendUint32(nil, h)[:3], 0)
}

// compressed is a request with a body in an encoding.
func compressed(encoding string, body []byte) *conn.Message {
	m := wire.EncodeRequest(request(), attempt(wire.Queued))
	m.ContentType, m.ContentEncoding, m.Body = "text/plain", encoding, body
	return m
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestEncodings(t *testing.T) {
	text := []byte(strings.Repeat("0123456789 ", 90))
	limited := source()
	limited.Limits.Body, limited.Limits.Ratio = 100_000, 100
	const (
		gz       = "request body is not valid gzip"
		zst      = "request body is not valid zstd"
		tooLong  = "request body has more than 100000 bytes when it is decompressed"
		grows    = "request body grows to more than 100 times its size when it is decompressed"
		tooLarge = "request body has more than 100000 bytes"
		window   = "request body needs a zstd window of more than 8388608 bytes"
		unknown  = "content encoding is not supported: gzip, zstd and identity are"
	)
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	broken := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-2] ^= 1; return b }
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	skip := func(b []byte) []byte { return append(bytes.Clone(skippable), b...) }
	for _, c := range []struct {
		name, encoding string
		body           []byte
		want           []byte
		message        string
	}{
		{"none", "", text, text, ""},
		{"identity", "identity", text, text, ""},
		{"identity in capitals", "IDENTITY", text, text, ""},
		{"unknown", "br", text, nil, unknown},
		{"two", "gzip, gzip", gzipped(text), nil, unknown},
		{"garbage", "\x1b[31m", text, nil, unknown},

		{"gzip", "gzip", gzipped(text), text, ""},
		{"gzip in capitals", "GZip", gzipped(text), text, ""},
		{"gzip of nothing", "gzip", gzipped(nil), []byte{}, ""},
		{"gzip of noise", "gzip", gzipped(noise(50_000)), noise(50_000), ""},
		{"gzip in parts", "gzip", gzipped(text, nil, text), append(text, text...), ""},
		{"gzip at the limit", "gzip", gzipped(noise(99_000), make([]byte, 1000)), append(noise(99_000), make([]byte, 1000)...), ""},
		{"gzip over the limit", "gzip", gzipped(noise(99_000), make([]byte, 1001)), nil, tooLong},
		{"gzip bomb", "gzip", gzipped(make([]byte, 90_000)), nil, grows},
		{"gzip bomb, huge", "gzip", gzipped(make([]byte, 2<<20)), nil, tooLong},
		{"gzip bomb inside", "gzip", gzipped(noise(2000), make([]byte, 2<<20)), nil, tooLong},
		{"gzip too large as it is", "gzip", noise(100_001), nil, tooLarge},
		{"gzip of no bytes", "gzip", nil, nil, gz},
		{"gzip that is none", "gzip", text, nil, gz},
		{"gzip cut short", "gzip", cut(gzipped(text)), nil, gz},
		{"gzip cut in its header", "gzip", gzipped(text)[:9], nil, gz},
		{"gzip with the wrong sum", "gzip", broken(gzipped(text)), nil, gz},
		{"gzip with more behind it", "gzip", append(gzipped(text), 'x'), nil, gz},
		{"gzip with zeros behind it", "gzip", append(gzipped(text), 0, 0), nil, gz},
		{"gzip with half of a part behind it", "gzip", append(gzipped(text), gzipped(text)[:20]...), nil, gz},
		{"zstd called gzip", "gzip", zstded(text), nil, gz},

		{"zstd", "zstd", zstded(text), text, ""},
		{"zstd in capitals", "Zstd", zstded(text), text, ""},
		{"zstd of nothing", "zstd", zstdHeader(0x20, 0, 1, 0, 0), []byte{}, ""},
		{"zstd of noise", "zstd", zstded(noise(50_000)), noise(50_000), ""},
		{"zstd that does not say how long it is", "zstd", streamed(8<<20, text, text), append(text, text...), ""},
		{"zstd in parts", "zstd", zstded(text, text), append(text, text...), ""},
		{"zstd in parts, the first one empty", "zstd", append(zstdHeader(0x20, 0, 1, 0, 0), zstded(text)...), text, ""},
		{"zstd behind a frame to skip", "zstd", skip(zstded(text)), text, ""},
		{"zstd before a frame to skip", "zstd", append(zstded(text), skippable...), text, ""},
		{"zstd with the largest window", "zstd", append(zstdHeader(0, 13<<3), zeros(1000, true)...), make([]byte, 1000), ""},
		{"zstd at the limit", "zstd", zstded(noise(99_000), make([]byte, 1000)), append(noise(99_000), make([]byte, 1000)...), ""},
		{"zstd over the limit", "zstd", zstded(noise(99_000), make([]byte, 1001)), nil, tooLong},
		{"zstd over the limit, streamed", "zstd", streamed(1<<20, noise(99_000), make([]byte, 1001)), nil, tooLong},
		{"zstd bomb", "zstd", zstded(make([]byte, 90_000)), nil, grows},
		{"zstd bomb, huge", "zstd", bomb(1 << 30), nil, tooLong},
		{"zstd bomb, streamed", "zstd", streamed(1<<20, make([]byte, 90_000)), nil, grows},
		{"zstd bomb of one block", "zstd", append(zstdHeader(0, 7<<3), zeros(128<<10, true)...), nil, grows},
		{"zstd that promises an exabyte", "zstd", append(zstdHeader(0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10), zeros(9, true)...), nil, grows},
		{"zstd that promises too little", "zstd", append(zstdHeader(0x20, 8), zeros(9, true)...), nil, zst},
		{"zstd that promises too much", "zstd", append(zstdHeader(0x20, 10), zeros(9, true)...), nil, zst},
		{"zstd with a window of 9 MiB", "zstd", append(zstdHeader(0, 13<<3|1), zeros(9, true)...), nil, window},
		{"zstd with a window of 3.75 TiB", "zstd", append(zstdHeader(0, 31<<3|7), zeros(9, true)...), nil, window},
		{"zstd with a window of 9 MiB in its second part", "zstd", append(append(zstded(text), zstdHeader(0, 13<<3|1)...), zeros(9, true)...), nil, zst},
		{"zstd with a dictionary", "zstd", append(zstdHeader(0x21, 7, 9), zeros(9, true)...), nil, zst},
		{"zstd of no bytes", "zstd", nil, nil, zst},
		{"zstd that is none", "zstd", text, nil, zst},
		{"zstd cut short", "zstd", cut(zstded(text)), nil, zst},
		{"zstd cut in its header", "zstd", zstded(text)[:5], nil, zst},
		{"zstd with the wrong sum", "zstd", broken(zstded(text)), nil, zst},
		{"zstd with one byte behind it", "zstd", append(zstded(text), 0x28), nil, zst},
		{"zstd with more behind it", "zstd", append(zstded(text), text...), nil, zst},
		{"zstd with half of a part behind it", "zstd", append(zstded(text), zstded(text)[:20]...), nil, zst},
		{"zstd with half of a frame to skip behind it", "zstd", append(zstded(text), skippable[:9]...), nil, zst},
		{"gzip called zstd", "zstd", gzipped(text), nil, zst},
	} {
		t.Run(c.name, func(t *testing.T) {
			call, err := wire.DecodeRequest(compressed(c.encoding, c.body), limited)
			if c.message == "" {
				if err != nil || !bytes.Equal(call.Body, c.want) {
					t.Errorf("got %.50q, %v, want %.50q", call.Body, err, c.want)
				}
				return
			}
			code := rpc.InvalidArgument
			if c.message == unknown {
				code = rpc.Unimplemented
			}
			if want := rpc.Errorf(code, "%s", c.message).WithExecuted(rpc.ExecutedNo); !reflect.DeepEqual(err, want) {
				t.Errorf("got %v, executed %v, want %v, executed no", err, rpc.Executed(err), want)
			}
		})
	}
}

// bomb is a frame of zstd that stands for n zeros, without saying so.
func bomb(n int) []byte {
	b := zstdHeader(0, 7<<3)
	for ; n > 128<<10; n -= 128 << 10 {
		b = append(b, zeros(128<<10, false)...)
	}
	return append(b, zeros(n, true)...)
}

// A frame of one segment is its own window. It is too large for one before it is too large for a body.
func TestWindowOfOneSegment(t *testing.T) {
	src := source()
	src.Limits.Body, src.Limits.Ratio = 64<<20, 100_000
	for size, want := range map[int]string{8: "", 9: "invalid_argument: request body needs a zstd window of more than 8388608 bytes"} {
		frame := zstdHeader(0xa0, 0, 0, byte(size<<4), 0)
		for range size*8 - 1 {
			frame = append(frame, zeros(128<<10, false)...)
		}
		_, err := wire.DecodeRequest(compressed("zstd", append(frame, zeros(128<<10, true)...)), src)
		if err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%d MiB: got %v, want %q", size, err, want)
		}
	}
}

// The ratio is one of the whole body.
func TestRatio(t *testing.T) {
	text := []byte(strings.Repeat("0123456789 ", 2000))
	for encoding, body := range map[string][]byte{
		"gzip": gzipped(text), "gzip in parts": gzipped(noise(1000), text), "zstd": zstded(text), "zstd streamed": streamed(1<<20, text),
		"zstd in parts": zstded(noise(1000), text),
	} {
		src := source()
		src.Limits.Ratio = 100_000
		m := compressed(encoding[:4], body)
		c, err := wire.DecodeRequest(m, src)
		if err != nil {
			t.Fatalf("%s: %v", encoding, err)
		}
		src.Limits.Ratio = (len(c.Body) + len(body) - 1) / len(body)
		if _, err := wire.DecodeRequest(m, src); err != nil {
			t.Errorf("%s, at the limit of %d: %v", encoding, src.Limits.Ratio, err)
		}
		src.Limits.Ratio--
		if _, err := wire.DecodeRequest(m, src); rpc.CodeOf(err) != rpc.InvalidArgument || !strings.Contains(err.Error(), "grows") {
			t.Errorf("%s, past the limit of %d: %v", encoding, src.Limits.Ratio, err)
		}
	}
}

// JSON is looked at when it is not compressed any more.
func TestDepthOfCompressed(t *testing.T) {
	for encoding, body := range map[string][]byte{
		"gzip": gzipped([]byte(nest("[", "]", 129))), "zstd": zstded([]byte(nest("[", "]", 129))), "": []byte(nest("[", "]", 129)),
	} {
		m := compressed(encoding, body)
		if _, err := wire.DecodeRequest(m, source()); err != nil {
			t.Errorf("%q, as text: %v", encoding, err)
		}
		m.ContentType = "application/json; charset=utf-8"
		if _, err := wire.DecodeRequest(m, source()); err == nil || err.Error() != "invalid_argument: JSON is nested deeper than 128" {
			t.Errorf("%q: got %v, want it refused", encoding, err)
		}
	}
}

// allocated is how many bytes this process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// A decoder is somebody else's, and what it is given a stranger's.
func TestPanicOfDecoder(t *testing.T) {
	wire.Decoders["buggy"] = func([]byte, int) ([]byte, error) { panic("index out of range") }
	defer delete(wire.Decoders, "buggy")
	_, err := wire.DecodeRequest(compressed("buggy", []byte("x")), source())
	if err == nil || err.Error() != "invalid_argument: request body is not valid buggy" {
		t.Errorf("got %v, want it refused", err)
	}
}

// What a body costs does not depend on what it claims or hides, but on what it may have, and the tables of a decoder.
func TestBombsCostNoMemory(t *testing.T) {
	const limit, tables = 1 << 20, 512 << 10
	for name, m := range map[string]*conn.Message{
		"gzip":                compressed("gzip", gzipped(make([]byte, 8<<20))),
		"zstd":                compressed("zstd", bomb(1<<30)),
		"zstd with its size":  compressed("zstd", append(zstdHeader(0xe0, 0, 0, 0, 0, 1, 0, 0, 0), bomb(1 << 30)[6:]...)),
		"zstd of noise first": compressed("zstd", append(streamed(1<<20, noise(100_000)), bomb(1<<30)...)),
		"zstd window":         compressed("zstd", append(zstdHeader(0, 13<<3), zeros(9, true)...)),
	} {
		src := source()
		src.Limits.Body, src.Limits.Ratio = limit, 1000
		wire.DecodeRequest(m, src) // the tables
		before := allocated()
		_, err := wire.DecodeRequest(m, src)
		cost := allocated() - before
		t.Logf("%s: %d bytes, %v", name, cost, err)
		if cost > 4*limit+tables { // for what it grew through adds up
			t.Errorf("%s: %d bytes of memory for a limit of %d: %v", name, cost, limit, err)
		}
	}
}

// Decoders are shared, and what the one before has left must not be seen.
func TestDecodersAreShared(t *testing.T) {
	for _, encoding := range []string{"gzip", "zstd"} {
		t.Run(encoding, func(t *testing.T) {
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					text := []byte(strings.Repeat(fmt.Sprint(i, " "), 1000+i))
					body := map[string][]byte{"gzip": gzipped(text), "zstd": zstded(text)}[encoding]
					for range 100 {
						wire.DecodeRequest(compressed(encoding, body[:len(body)/2]), source())
						c, err := wire.DecodeRequest(compressed(encoding, body), source())
						if err != nil || !bytes.Equal(c.Body, text) {
							t.Errorf("got %d bytes, %v, want %d", len(c.Body), err, len(text))
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func FuzzEncodings(f *testing.F) {
	text := []byte(strings.Repeat("0123456789 ", 90))
	for i, seed := range [][]byte{
		gzipped(text), gzipped(text, text), gzipped(make([]byte, 10_000)), zstded(text), zstded(text, text), streamed(1<<20, text), bomb(1 << 20),
	} {
		f.Add(i > 2, seed, uint16(5000), uint8(100))
	}
	for range runtime.GOMAXPROCS(0) { // each decoder's window, which it keeps
		wire.DecodeRequest(compressed("zstd", append(zstdHeader(0, 13<<3), zeros(9, true)...)), source())
	}
	f.Fuzz(func(t *testing.T, zstd bool, body []byte, limit uint16, ratio uint8) {
		src := source()
		src.Limits.Body, src.Limits.Ratio = max(len(body), int(limit)), 1+int(ratio)
		encoding := "gzip"
		if zstd {
			encoding = "zstd"
		}
		most := min(src.Limits.Body, src.Limits.Ratio*len(body))
		before := allocated()
		c, err := wire.DecodeRequest(compressed(encoding, body), src)
		if cost := allocated() - before; cost > uint64(3*most+1<<20) {
			t.Errorf("%d bytes of memory for a limit of %d", cost, most)
		}
		if err == nil && len(c.Body) > most {
			t.Errorf("%d bytes for a limit of %d", len(c.Body), most)
		}
		for encoding, packed := range map[string][]byte{"gzip": gzipped(body), "zstd": zstded(body)} {
			src.Limits.Body, src.Limits.Ratio = len(body)+1000, 100_000
			if c, err := wire.DecodeRequest(compressed(encoding, packed), src); err != nil || !bytes.Equal(c.Body, body) {
				t.Errorf("%s: got %q, %v, want %q", encoding, c.Body, err, body)
			}
		}
	})
}

func BenchmarkEncodings(b *testing.B) {
	text := objects(1 << 10)
	for encoding, body := range map[string][]byte{"": text, "gzip": gzipped(text), "zstd": zstded(text)} {
		m := compressed(encoding, body)
		b.Run("encoding "+encoding, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := wire.DecodeRequest(m, source()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
