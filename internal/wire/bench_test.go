package wire_test

import (
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// plainRequest is a request as most are, with no headers of the caller's.
func plainRequest() *rpc.Request {
	return &rpc.Request{
		Service: "math", Method: "fib", ContentType: rpc.ContentTypeBytes, Body: make([]byte, 16),
		ID: "0b6e2f3c8d1a4b5c9e7f0a1b2c3d4e5f", Client: "5f4e3d2c1b0a7f9e5c4b1a8d3c2f6e0b", Attempt: 1,
	}
}

var direct = wire.Attempt{Mode: wire.Direct, ReplyTo: "amq.gen-Xa2QDgb1xQ0PZ8hC7Yv3rw", Timeout: 10 * time.Second}

var kept *conn.Message // what is encoded must not stay on the stack

func BenchmarkEncodeRequest(b *testing.B) {
	b.ReportAllocs()
	r := plainRequest()
	for b.Loop() {
		kept = wire.EncodeRequest(r, direct)
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	b.ReportAllocs()
	m := wire.EncodeRequest(plainRequest(), direct)
	src := wire.Source{Service: "math", Limits: wire.DefaultLimits}
	for b.Loop() {
		if _, err := wire.DecodeRequest(m, src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeReply(b *testing.B) {
	b.ReportAllocs()
	c := call()
	r := &rpc.Reply{ContentType: rpc.ContentTypeBytes, Body: make([]byte, 16), Server: "host/1"}
	for b.Loop() {
		kept = wire.EncodeReply(c, r)
	}
}

func BenchmarkDecodeReply(b *testing.B) {
	b.ReportAllocs()
	m := wire.EncodeReply(call(), &rpc.Reply{ContentType: rpc.ContentTypeBytes, Body: make([]byte, 16), Server: "host/1"})
	for b.Loop() {
		if _, err := wire.DecodeReply(m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkValidate is the check of all that a broker or a library could refuse.
func BenchmarkValidate(b *testing.B) {
	b.ReportAllocs()
	m := wire.EncodeRequest(plainRequest(), direct)
	for b.Loop() {
		if err := m.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
