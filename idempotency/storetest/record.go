package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func testReply(t *testing.T, s store) {
	for i, want := range []rpc.Reply{
		{ContentType: "text/plain", Body: []byte("\x00\xff'\"\\\n"), Server: "math-1"},
		{Body: []byte{}},
		{Body: bytes.Repeat([]byte("x"), 1<<20)},
		{ContentType: "application/octet-stream", Body: bytes.Repeat([]byte("\x00\x01\xfe\xff"), 1<<20), Server: "s"},
	} {
		k := numbered(i)
		s.run(t, k, &idempotency.Record{Reply: &want})
		got := s.begin(t, k, fingerprint, idempotency.Done).Record
		if got.Err != nil || got.Reply == nil {
			t.Fatalf("record = %+v, %v, want a reply", got.Reply, got.Err)
		}
		if got.Reply.ContentType != want.ContentType || got.Reply.Server != want.Server || !bytes.Equal(got.Reply.Body, want.Body) {
			t.Errorf("reply %d differs", i)
		}
	}
}

func testError(t *testing.T, s store) {
	for i, want := range []rpc.Error{
		{
			Code: rpc.NotFound, Message: "no \"such\"\n\x00 account", Details: []byte(`{"id":7}`),
			RetryAfter: 1500 * time.Millisecond, Executed: rpc.ExecutedYes, Remote: true,
		},
		{Code: rpc.Internal},
		{Code: rpc.Unavailable, Message: "\xff is no UTF-8", Executed: rpc.ExecutedUnknown, RetryAfter: time.Nanosecond},
		{Code: rpc.Aborted, Message: "large", Details: bytes.Repeat([]byte("1"), 1<<20), RetryAfter: 1000 * time.Hour},
	} {
		k := numbered(i)
		s.run(t, k, &idempotency.Record{Err: want.WithCause(errors.New("cause"))})
		got := s.begin(t, k, fingerprint, idempotency.Done).Record
		if got.Reply != nil || got.Err == nil {
			t.Fatalf("record = %+v, %v, want an error", got.Reply, got.Err)
		}
		if !reflect.DeepEqual(*got.Err, want) {
			t.Errorf("error %d = %.500s, want %.500s", i, fmt.Sprintf("%#v", *got.Err), fmt.Sprintf("%#v", want))
		}
	}
}

func testRecordsAreNotShared(t *testing.T, s store) {
	record := reply("before")
	s.run(t, key, record)
	copy(record.Reply.Body, "after!")
	for range 2 {
		s.wantReply(t, key, "before")
		got := s.begin(t, key, fingerprint, idempotency.Done).Record
		copy(got.Reply.Body, "after!")
		got.Reply.Replayed = true
	}

	k := key
	k.ID = "error"
	failed := rpc.Errorf(rpc.NotFound, "x").WithDetails(1)
	s.run(t, k, &idempotency.Record{Err: failed})
	failed.Details[0] = '2'
	for range 2 {
		got := s.begin(t, k, fingerprint, idempotency.Done).Record
		if string(got.Err.Details) != "1" || got.Err.Message != "x" {
			t.Errorf("error = %v, %s, want as it was completed", got.Err, got.Err.Details)
		}
		got.Err.Details[0], got.Err.Message = '3', "y"
	}
}
