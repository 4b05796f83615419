package rpc_test

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestCodecFor(t *testing.T) {
	tests := []struct {
		contentType string
		want        string   // content type of the codec
		code        rpc.Code // of the error
	}{
		{"", rpc.ContentTypeJSON, rpc.OK},
		{"application/json", rpc.ContentTypeJSON, rpc.OK},
		{"Application/JSON ; Charset=\"UTF-8\"", rpc.ContentTypeJSON, rpc.OK},
		{"text/plain", rpc.ContentTypeText, rpc.OK},
		{"text/plain; charset=utf-8", rpc.ContentTypeText, rpc.OK},
		{"application/octet-stream", rpc.ContentTypeBytes, rpc.OK},
		{"application/x-protobuf", rpc.ContentTypeProto, rpc.OK},
		{"application/protobuf", rpc.ContentTypeProto, rpc.OK},
		{"text/plain; charset=latin1", "", rpc.Unimplemented},
		{"text/plain; format=flowed", "", rpc.Unimplemented},
		{"application/octet-stream; charset=utf-8", "", rpc.Unimplemented},
		{"application/x-protobuf; charset=utf-8", "", rpc.Unimplemented},
		{"application/xml", "", rpc.Unimplemented},
		{"application/json; charset", "", rpc.InvalidArgument},
		{"application/json; charset=utf-8; charset=latin1", "", rpc.InvalidArgument},
		{"a/b/c", "", rpc.InvalidArgument},
		{" ", "", rpc.InvalidArgument},
	}
	for _, tt := range tests {
		t.Run(tt.contentType, func(t *testing.T) {
			c, err := rpc.CodecFor(tt.contentType)
			if got := rpc.CodeOf(err); got != tt.code {
				t.Fatalf("error = %v, want %v", err, tt.code)
			}
			if err == nil && c.ContentType() != tt.want {
				t.Errorf("codec = %s, want %s", c.ContentType(), tt.want)
			}
		})
	}
}

func FuzzCodecFor(f *testing.F) {
	f.Add("text/plain; charset=utf-8")
	f.Add("a/b; c*0=\"d\"")
	f.Fuzz(func(t *testing.T, contentType string) {
		if c, err := rpc.CodecFor(contentType); (c == nil) == (err == nil) {
			t.Errorf("CodecFor(%q) = %v, %v", contentType, c, err)
		}
	})
}

type (
	celsius float32
	name    string
	blob    []byte
	small   int8
)

// roundTrip checks that v is encoded as want, and that want is decoded to v.
func roundTrip[T any](t *testing.T, contentType string, v T, want string) {
	t.Helper()
	data, err := rpc.Marshal(contentType, v)
	if err != nil || string(data) != want {
		t.Errorf("Marshal(%s, %T %v) = %q, %v, want %q", contentType, v, v, data, err, want)
	}
	got, err := rpc.Unmarshal[T](contentType, []byte(want))
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("Unmarshal[%T](%s, %q) = %v, %v, want %v", v, contentType, want, got, err, v)
	}
}

func TestRoundTrip(t *testing.T) {
	const text, raw, json = rpc.ContentTypeText, rpc.ContentTypeBytes, rpc.ContentTypeJSON
	seven := 7
	roundTrip(t, json, map[string][]int{"a": {1}}, `{"a":[1]}`)
	roundTrip(t, "", &seven, `7`)
	roundTrip(t, json, uint64(math.MaxUint64), `18446744073709551615`)
	roundTrip(t, text, "héllo\n", "héllo\n")
	roundTrip(t, text, "", "")
	roundTrip(t, text, name("n"), "n")
	roundTrip(t, text, []byte("b"), "b")
	roundTrip(t, text, blob("b"), "b")
	roundTrip(t, text, true, "true")
	roundTrip(t, text, false, "false")
	roundTrip(t, text, 30, "30")
	roundTrip(t, text, small(-128), "-128")
	roundTrip(t, text, int64(math.MinInt64), "-9223372036854775808")
	roundTrip(t, text, uint64(math.MaxUint64), "18446744073709551615")
	roundTrip(t, text, uint8(255), "255")
	roundTrip(t, text, 0.1, "0.1")
	roundTrip(t, text, celsius(0.1), "0.1")
	roundTrip(t, text, math.MaxFloat64, "1.7976931348623157e+308")
	roundTrip(t, text, math.Inf(-1), "-Inf")
	roundTrip(t, text, &seven, "7")
	roundTrip(t, text, time.Unix(0, 0).UTC(), "1970-01-01T00:00:00Z")
	roundTrip(t, text, big.NewInt(7), "7")
	roundTrip(t, text, rpc.NotFound, "not_found") // a uint8 with a text form
	roundTrip(t, raw, []byte{0, 0xff}, "\x00\xff")
	roundTrip(t, raw, blob{}, "")
	roundTrip(t, raw, name("\xff"), "\xff")
	if got, err := rpc.Unmarshal[**blob](raw, []byte("b")); err != nil || string(**got) != "b" {
		t.Errorf("Unmarshal to a pointer = %v, %v, want b", got, err)
	}
}

func TestRoundTripProto(t *testing.T) {
	want := wrapperspb.String("x")
	data, err := rpc.Marshal(rpc.ContentTypeProto, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := rpc.Unmarshal[*wrapperspb.StringValue]("application/protobuf", data)
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("Unmarshal = %v, %v, want %v", got, err, want)
	}
}

// A caller that asks again after a restart must send the same bytes.
func TestProtoIsDeterministic(t *testing.T) {
	fields := map[string]any{}
	for i := range 20 {
		fields[fmt.Sprint(i)] = i
	}
	v, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	first, err := rpc.Marshal(rpc.ContentTypeProto, v)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if again, _ := rpc.Marshal(rpc.ContentTypeProto, v); string(again) != string(first) {
			t.Fatal("the encoding differs")
		}
	}
}

func TestUnmarshalErrors(t *testing.T) {
	const text, raw, json, pb = rpc.ContentTypeText, rpc.ContentTypeBytes, rpc.ContentTypeJSON, rpc.ContentTypeProto
	const invalid, internal = rpc.InvalidArgument, rpc.Internal
	type object struct{ N small }
	tests := []struct {
		name string
		do   func() error
		code rpc.Code
		want string
	}{
		{"json syntax", unmarshal[int](json, "SECRET"), invalid, "malformed JSON at byte 1"},
		{"json empty", unmarshal[int](json, ""), invalid, "malformed JSON at byte 0"},
		{"json trailing", unmarshal[int](json, "1 2"), invalid, "malformed JSON at byte 3"},
		{"json range", unmarshal[object](json, `{"N":54321}`), invalid, "JSON value at byte 10 is not a valid rpc_test.small"},
		{"json type", unmarshal[map[string]int](json, `{"SECRET":"SECRET"}`), invalid, "is not a valid int"},
		{"json own form", unmarshal[time.Time](json, `"SECRET"`), invalid, "JSON is not a valid *time.Time"},
		{"json no target", unmarshal[chan int](json, `1`), invalid, "is not a valid chan int"},
		{"text range", unmarshal[small](text, "54321"), invalid, "out of range for rpc_test.small"},
		{"text negative", unmarshal[uint](text, "-54321"), invalid, "not a valid uint"},
		{"text float range", unmarshal[celsius](text, "1e39"), invalid, "out of range for rpc_test.celsius"},
		{"text space", unmarshal[int](text, "54321 "), invalid, "not a valid int"},
		{"text hex", unmarshal[int](text, "0x54321"), invalid, "not a valid int"},
		{"text empty", unmarshal[int](text, ""), invalid, "not a valid int"},
		{"text bool", unmarshal[bool](text, "SECRET"), invalid, "not a valid bool"},
		{"text own form", unmarshal[time.Time](text, "SECRET"), invalid, "not a valid time.Time"},
		{"text not UTF-8", unmarshal[string](text, "SECRET\xff"), invalid, "not valid UTF-8"},
		{"text no target", unmarshal[struct{}](text, "SECRET"), internal, "cannot decode text/plain to *struct {}"},
		{"raw no target", unmarshal[int](raw, "SECRET"), internal, "cannot decode"},
		{"proto", unmarshal[*wrapperspb.StringValue](pb, "SECRET"), invalid, "malformed protobuf for google.protobuf.StringValue"},
		{"proto no target", unmarshal[int](pb, ""), internal, "cannot decode"},
		{"unknown type", unmarshal[int]("x/y", "SECRET"), rpc.Unimplemented, "no codec"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do()
			if got := rpc.CodeOf(err); got != tt.code {
				t.Fatalf("error = %v, want code %v", err, tt.code)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
			if all := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(all, "SECRET") || strings.Contains(all, "54321") {
				t.Errorf("error tells the body: %s", all)
			}
			if got := rpc.Executed(err); got != rpc.ExecutedUnknown {
				t.Errorf("Executed = %v, want unknown", got)
			}
		})
	}
}

func unmarshal[T any](contentType, body string) func() error {
	return func() error {
		_, err := rpc.Unmarshal[T](contentType, []byte(body))
		return err
	}
}

func TestUnmarshalNotAPointer(t *testing.T) {
	for _, contentType := range []string{rpc.ContentTypeJSON, rpc.ContentTypeText, rpc.ContentTypeBytes, rpc.ContentTypeProto} {
		c, err := rpc.CodecFor(contentType)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{nil, 1, (*string)(nil)} {
			if err := c.Unmarshal([]byte("1"), v); rpc.CodeOf(err) != rpc.Internal {
				t.Errorf("%s: Unmarshal to %T = %v, want internal", contentType, v, err)
			}
		}
	}
}

func TestMarshalErrors(t *testing.T) {
	tests := []struct {
		contentType string
		v           any
		code        rpc.Code
	}{
		{rpc.ContentTypeJSON, make(chan int), rpc.Internal},
		{rpc.ContentTypeJSON, math.NaN(), rpc.Internal},
		{rpc.ContentTypeText, nil, rpc.Internal},
		{rpc.ContentTypeText, (*int)(nil), rpc.Internal},
		{rpc.ContentTypeText, (*time.Time)(nil), rpc.Internal},
		{rpc.ContentTypeText, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), rpc.Internal},
		{rpc.ContentTypeText, struct{}{}, rpc.Internal},
		{rpc.ContentTypeText, "\xff", rpc.Internal},
		{rpc.ContentTypeBytes, nil, rpc.Internal},
		{rpc.ContentTypeBytes, 1, rpc.Internal},
		{rpc.ContentTypeProto, nil, rpc.Internal},
		{rpc.ContentTypeProto, 1, rpc.Internal},
		{rpc.ContentTypeProto, (*wrapperspb.StringValue)(nil), rpc.Internal},
		{rpc.ContentTypeProto, wrapperspb.String("\xff"), rpc.Internal},
		{"x/y", 1, rpc.Unimplemented},
	}
	for _, tt := range tests {
		data, err := rpc.Marshal(tt.contentType, tt.v)
		if got := rpc.CodeOf(err); got != tt.code || data != nil {
			t.Errorf("Marshal(%s, %T) = %q, %v, want code %v", tt.contentType, tt.v, data, err, tt.code)
		}
	}
}

// What could exhaust the stack is refused without a server, too.
func TestDepth(t *testing.T) {
	nest := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	for depth, want := range map[int]rpc.Code{10_000: rpc.OK, 10_001: rpc.InvalidArgument, 1_000_000: rpc.InvalidArgument} {
		if _, err := rpc.Unmarshal[any](rpc.ContentTypeJSON, nest(depth)); rpc.CodeOf(err) != want {
			t.Errorf("depth %d: error = %v, want code %v", depth, err, want)
		}
	}
}

func TestProtoDepth(t *testing.T) {
	v := structpb.NewNullValue()
	for range 128 {
		v = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
	}
	data, err := proto.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Unmarshal[*structpb.Value](rpc.ContentTypeProto, data); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("error = %v, want invalid_argument", err)
	}
}

func TestCodecsShareNoMemory(t *testing.T) {
	for _, contentType := range []string{rpc.ContentTypeBytes, rpc.ContentTypeText} {
		v := []byte("abc")
		data, _ := rpc.Marshal(contentType, v)
		v[0] = 'X'
		if string(data) != "abc" {
			t.Errorf("%s: Marshal keeps the value's memory", contentType)
		}
		got, _ := rpc.Unmarshal[[]byte](contentType, data)
		data[0] = 'X'
		if string(got) != "abc" {
			t.Errorf("%s: Unmarshal keeps the body's memory", contentType)
		}
	}
}

// undecodable is all that an error of Unmarshal can say of a body, whatever is in it.
var undecodable = regexp.MustCompile(`^invalid_argument: (` +
	`malformed JSON at byte \d+|JSON value at byte \d+ is not a valid [][\w.]+|JSON is not a valid \*[\w.]+|` +
	`text is not valid UTF-8|text is out of range for [\w.]+|text is not a valid [\w.]+|` +
	`malformed protobuf for google\.protobuf\.Value)$`)

func checkUndecodable(t *testing.T, err error) {
	t.Helper()
	if !undecodable.MatchString(err.Error()) || rpc.Executed(err) != rpc.ExecutedUnknown {
		t.Errorf("error = %q, executed %v", err, rpc.Executed(err))
	}
}

// fuzz checks that what is decoded to a T is encoded and decoded to the same
// again, and that an error is one that says that the body is wrong.
func fuzz[T any](t *testing.T, contentType string, body []byte) {
	t.Helper()
	v, err := rpc.Unmarshal[T](contentType, body)
	if err != nil {
		checkUndecodable(t, err)
		return
	}
	data, err := rpc.Marshal(contentType, v)
	if err != nil {
		t.Fatalf("decoded from %q, but: %v", body, err)
	}
	again, err := rpc.Unmarshal[T](contentType, data)
	if err != nil {
		t.Fatalf("%q, from %q: %v", data, body, err)
	}
	if once := fmt.Sprint(v); once != fmt.Sprint(again) {
		t.Errorf("%q is %s, then %v", body, once, again)
	}
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"b",null]}`, `[[[`, `"\"["`, `1 2`, "", "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzz[any](t, rpc.ContentTypeJSON, body)
		fuzz[map[string]small](t, rpc.ContentTypeJSON, body)
	})
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"30", "-129", "1e999", "NaN", "true", "1970-01-01T00:00:00Z", "\xff", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzz[string](t, rpc.ContentTypeText, body)
		fuzz[bool](t, rpc.ContentTypeText, body)
		fuzz[small](t, rpc.ContentTypeText, body)
		fuzz[uint64](t, rpc.ContentTypeText, body)
		fuzz[celsius](t, rpc.ContentTypeText, body)
		fuzz[rpc.Code](t, rpc.ContentTypeText, body)
	})
}

func FuzzBytes(f *testing.F) {
	f.Add([]byte{0, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzz[blob](t, rpc.ContentTypeBytes, body)
		fuzz[name](t, rpc.ContentTypeBytes, body)
	})
}

func FuzzProto(f *testing.F) {
	for _, v := range []any{nil, 1.5, "x", []any{"y"}, map[string]any{"z": true}} {
		m, err := structpb.NewValue(v)
		if err != nil {
			f.Fatal(err)
		}
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := rpc.Unmarshal[*structpb.Value](rpc.ContentTypeProto, body)
		if err != nil {
			checkUndecodable(t, err)
			return
		}
		data, err := rpc.Marshal(rpc.ContentTypeProto, v)
		if err != nil {
			t.Fatalf("decoded from %q, but: %v", body, err)
		}
		again, err := rpc.Unmarshal[*structpb.Value](rpc.ContentTypeProto, data)
		if err != nil || !proto.Equal(v, again) {
			t.Errorf("%q is %v, then %v, %v", body, v, again, err)
		}
	})
}
