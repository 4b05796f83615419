package chaos

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

func rawFrame(kind byte, channel uint16, payload string) []byte {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16([]byte{kind}, channel), uint32(len(payload)))
	return append(append(b, payload...), frameEnd)
}

// startOKFrame makes the second thing that a client sends.
func startOKFrame(table string) []byte {
	args := binary.BigEndian.AppendUint32([]byte{0, 10, 0, 11}, uint32(len(table)))
	return rawFrame(methodFrame, 0, string(args)+table+"\x05PLAIN\x00\x00\x00\x00\x05en_US")
}

var (
	tune      = rawFrame(methodFrame, 0, "\x00\x0a\x00\x1f\x00\x00\x00\x00\x00\x00\x00\x0a")
	header    = rawFrame(headerFrame, 3, "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00")
	body      = rawFrame(bodyFrame, 3, "hello")
	named     = startOKFrame("\x07product\x53\x00\x00\x00\x01x\x02ok\x74\x01\x01n\x6c\x00\x00\x00\x00\x00\x00\x00\x01\x0fconnection_nameS\x00\x00\x00\x04mine")
	heartBeat = rawFrame(heartbeatFrame, 0, "")
)

func TestScanner(t *testing.T) {
	stream := slices.Concat([]byte(greeting), named, tune, header, body, heartBeat)
	want := []frame{
		{kind: greetingFrame, size: 8},
		{kind: methodFrame, size: int64(len(named)), method: 10<<16 | 11, name: "mine"},
		{kind: methodFrame, size: 20, method: 10<<16 | 31},
		{kind: headerFrame, channel: 3, size: 22, body: 5},
		{kind: bodyFrame, channel: 3, size: 13},
		{kind: heartbeatFrame, size: 8, method: heartbeat},
	}
	for chunk := 1; chunk <= len(stream); chunk++ {
		s := scanner{greets: true}
		var got []frame
		for _, x := range scan(&s, stream, func(int) int { return chunk }) {
			if x.first {
				got = append(got, *x.frame)
			}
		}
		if !slices.Equal(got, want) || s.raw || s.left != 0 {
			t.Fatalf("in chunks of %d: got %+v, want %+v", chunk, got, want)
		}
	}
}

// scan feeds a scanner with chunks of a stream, as a pipe does, and returns what it makes of them.
func scan(s *scanner, stream []byte, size func(i int) int) (all []piece) {
	var kept []byte
	for i := 0; len(stream) > 0; i++ {
		n := min(len(stream), max(1, size(i)))
		b := append(slices.Clone(kept), stream[:n]...)
		stream = stream[n:]
		for {
			x := s.next(b)
			if len(x.data) == 0 {
				break
			}
			if x.frame != nil {
				f := *x.frame
				x.frame = &f
			}
			all = append(all, x)
			b = b[len(x.data):]
		}
		kept = b
	}
	return append(all, piece{data: kept})
}

// What is not AMQP, or stops being so, is copied as it is.
func TestScannerGarbage(t *testing.T) {
	good := slices.Concat([]byte(greeting), tune)
	for name, stream := range map[string][]byte{
		"TLS":              []byte("\x16\x03\x01\x02\x00\x01\x00"),
		"HTTP":             []byte("GET / HTTP/1.1\r\n\r\n"),
		"AMQP 1.0":         []byte("AMQP\x00\x01\x00\x00"),
		"kind of frame":    slices.Concat(good, []byte{4, 0, 0, 0, 0, 0, 0, frameEnd}),
		"end of frame":     slices.Concat(good, []byte{8, 0, 0, 0, 0, 0, 0, 0, 8}),
		"method too short": slices.Concat(good, rawFrame(methodFrame, 0, "\x01\x02\x03")),
		"header too short": slices.Concat(good, rawFrame(headerFrame, 0, "\x01\x02\x03")),
	} {
		t.Run(name, func(t *testing.T) {
			s := scanner{greets: true}
			scan(&s, stream, func(int) int { return len(stream) })
			if !s.raw {
				t.Error("taken for AMQP")
			}
		})
	}
}

func TestConnectionName(t *testing.T) {
	name := func(table string) string {
		var s scanner
		s.parse(startOKFrame(table))
		return s.frame.name
	}
	for table, want := range map[string]string{
		"": "",
		"\x0fconnection_nameS\x00\x00\x00\x04mine":                          "mine",
		"\x01tF\x00\x00\x00\x03\x01xV\x0fconnection_nameS\x00\x00\x00\x01a": "a",
		"\x0fconnection_namet\x01":                                          "",
		"\x0fconnection_nameS\xff\xff\xff\xff":                              "",
		"\xffx":                                                             "",
		"\x01aS\x7f\xff\xff\xffmine":                                        "",
	} {
		if got := name(table); got != want {
			t.Errorf("%q: got the name %q, want %q", table, got, want)
		}
	}
}

// However a stream is split, all of it comes out, in order, in pieces that do not cross the bounds of frames.
func FuzzScanner(f *testing.F) {
	f.Add(slices.Concat([]byte(greeting), named, tune, header, body, heartBeat), []byte{1, 7, 3})
	f.Add(slices.Concat([]byte(greeting), []byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 10, 0, 11}), []byte{200})
	f.Add([]byte("HTTP/1.1 400"), []byte{})
	f.Fuzz(func(t *testing.T, stream, sizes []byte) {
		s := scanner{greets: true}
		var out []byte
		var size, left int64
		for _, x := range scan(&s, stream, func(i int) int {
			if len(sizes) == 0 {
				return len(stream)
			}
			return int(sizes[i%len(sizes)])
		}) {
			out = append(out, x.data...)
			if x.frame == nil {
				continue
			}
			if x.first {
				size, left = x.frame.size, x.frame.size
			}
			if left -= int64(len(x.data)); left < 0 || x.last != (left == 0) || x.frame.size != size {
				t.Fatalf("piece %+v of a frame of %d bytes has %d more than are left", x, size, -left)
			}
		}
		if !bytes.Equal(out, stream) {
			t.Fatalf("got % x, want % x", out, stream)
		}
	})
}
