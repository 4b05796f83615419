package frame_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// plain turns the library's own types into those that are used here.
func plain(v any) any {
	switch v := v.(type) {
	case amqp.Table:
		t := make(map[string]any)
		for name, value := range v {
			t[name] = plain(value)
		}
		return t
	case []any:
		var list []any
		for _, value := range v {
			list = append(list, plain(value))
		}
		return list
	case amqp.Decimal:
		return frame.Decimal{Scale: v.Scale, Value: v.Value}
	}
	return v
}

// properties of a delivery, as the library has read it.
func properties(d *amqp.Delivery) frame.Properties {
	p := frame.Properties{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode, Priority: d.Priority,
		CorrelationID: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageID: d.MessageId,
		Type: d.Type, UserID: d.UserId, AppID: d.AppId,
	}
	if d.Headers != nil {
		p.Headers = plain(d.Headers).(map[string]any)
	}
	if !d.Timestamp.IsZero() {
		p.Timestamp, p.HasTimestamp = d.Timestamp.Unix(), true
	}
	return p
}

// What RabbitMQ hands on and the library does not read must not end a session: the next one would meet it again.
func TestReadsMoreThanTheLibrary(t *testing.T) {
	for name, tt := range map[string]struct {
		table string
		want  any
	}{
		"tables inside of each other, 40": {nested('F', 40), nestedTables(32)},
		"lists inside of each other, 40":  {nested('A', 40), nestedLists(32)},
		"long list":                       {"\x01aA" + long(strings.Repeat("V", 100_000)), make([]any, 100_000)},
		"long, as py-amqp writes it":      {"\x01aL\xff\xff\xff\xff\xff\xff\xff\xfe", int64(-2)},
	} {
		var in frame.Inbox
		routing, _ := frame.Payload(deliver("e", "k"))
		_, err := in.Next(frame.Method, routing)
		check(t, err)
		header := "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00" + long(tt.table)
		if event, err := in.Next(frame.Header, []byte(header)); event != frame.Delivery || err != nil || !reflect.DeepEqual(in.Headers["a"], tt.want) {
			t.Errorf("%s: got event %d, %v, %v; want %v", name, event, err, in.Headers["a"], tt.want)
		}
	}
}

// nested is the content of a table with tables, or lists, inside of each other.
func nested(kind byte, depth int) string {
	name := "\x01a"
	s := ""
	for range depth {
		if s = string(kind) + long(s); kind == 'F' {
			s = name + s
		}
	}
	return name + strings.TrimPrefix(s, name)
}

func nestedTables(depth int) (v any) {
	for range depth {
		v = map[string]any{"a": v}
	}
	return v
}

func nestedLists(depth int) (v any) {
	for range depth {
		v = []any{v}
	}
	return v
}

// long is a long string, or a table.
func long(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

// same compares as text, in which maps are sorted, and not a number is itself.
func same(a, b any) bool { return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b) }

// everyType are headers of all types that the library writes, those included that are never sent here.
var everyType = amqp.Table{
	"bool": true, "byte": byte(200), "int8": int8(-1), "int16": int16(-2), "int32": int32(-3), "int64": int64(math.MinInt64),
	"uint16": uint16(65535), "uint32": uint32(math.MaxUint32), "float32": float32(1.5), "float64": math.Inf(-1),
	"decimal": amqp.Decimal{Scale: 2, Value: -314}, "string": "text", "empty": "", "bytes": []byte{0, 0xCE},
	"time": time.Unix(1700000000, 0), "nil": nil, "": "no name",
	"list":  []any{"a", int64(1), []any{amqp.Table{"deep": nil}}},
	"table": amqp.Table{"a": amqp.Table{"b": []any{}}},
}

// What the library writes is read as it was meant, whatever the header.
func TestReadsWhatTheLibraryWrites(t *testing.T) {
	l := open(t)
	full := amqp.Publishing{
		Headers: everyType, ContentType: "ct", ContentEncoding: "ce", DeliveryMode: 2, Priority: 9, CorrelationId: "c", ReplyTo: "r",
		Expiration: "0", MessageId: "m", Timestamp: time.Unix(1, 0), Type: "t", UserId: "u", AppId: "a",
		Body: bytes.Repeat([]byte("x"), 300_000), // three frames
	}
	small := full
	small.Body = []byte("small")
	for name, p := range map[string]amqp.Publishing{"all": full, "small": small, "none": {}} {
		_, header, bodies := l.publish("e", "k", true, p)
		var in frame.Inbox
		routing, _ := frame.Payload(deliver("e", "k"))
		_, err := in.Next(frame.Method, routing)
		check(t, err)
		event, err := in.Next(frame.Header, header)
		check(t, err)
		for _, b := range bodies {
			if event != frame.None {
				t.Fatalf("%s: complete before the last frame", name)
			}
			event, err = in.Next(frame.Body, b)
			check(t, err)
		}
		want := properties(&amqp.Delivery{
			Headers: p.Headers, ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: p.DeliveryMode,
			Priority: p.Priority, CorrelationId: p.CorrelationId, ReplyTo: p.ReplyTo, Expiration: p.Expiration,
			MessageId: p.MessageId, Timestamp: p.Timestamp, Type: p.Type, UserId: p.UserId, AppId: p.AppId,
		})
		if event != frame.Delivery || in.Tag != 7 || !in.Redelivered || in.Exchange != "e" || in.Key != "k" ||
			!same(in.Properties, want) || !bytes.Equal(in.Body, p.Body) {
			t.Errorf("%s: got event %d with %#v\nwant %#v", name, event, in.Properties, want)
		}
		for i := range in.Body { // it is its receiver's to change
			in.Body[i] = '?'
		}
		if in.Body = append(in.Body, "more"...); !same(in.Properties, want) {
			t.Errorf("%s: a change of the body has changed %#v", name, in.Properties)
		}
	}
}

// sent has all that is ever sent.
func sent(body []byte, headers map[string]any) *frame.Publish {
	return &frame.Publish{Exchange: "e", Key: "k", Mandatory: true, Body: body, Properties: frame.Properties{
		ContentType: "ct", ContentEncoding: "ce", Headers: headers, DeliveryMode: 2, Priority: 9, CorrelationID: "c", ReplyTo: "r",
		Expiration: "0", MessageID: "m", Timestamp: 1, HasTimestamp: true, Type: "t", UserID: "u", AppID: "a",
	}}
}

// received has the library read what was written here, as a delivery.
func received(t *testing.T, l *library, p *frame.Publish, limit int) amqp.Delivery {
	t.Helper()
	frames := frame.AppendPublish([]byte("before"), channel, p, limit)
	frames = bytes.TrimPrefix(frames, []byte("before"))
	first := int(frame.ParseHead(frames).Size) + frame.Overhead
	d, ok := l.receive(append(deliver(p.Exchange, p.Key), frames[first:]...))
	if !ok {
		t.Fatal("the library has ended its connection")
	}
	return d
}

func TestLibraryReadsWhatIsWritten(t *testing.T) {
	l := open(t)
	headers := map[string]any{
		"s": "text", "b": true, "i": int64(math.MinInt64), "f": math.Pi, "nil": nil, "t": time.Unix(1700000000, 0), "bytes": []byte{1},
		"list": []any{"a", []any{int64(1), false}},
	}
	for _, tt := range []struct {
		name  string
		p     *frame.Publish
		limit int
	}{
		{"all", sent([]byte("body"), headers), 131072},
		{"none", &frame.Publish{}, 131072},
		{"body of one frame", sent(make([]byte, 4096-frame.Overhead), nil), 4096},
		{"body of a frame and a byte", sent(make([]byte, 4096-frame.Overhead+1), nil), 4096},
		{"no limit", sent(make([]byte, 100_000), nil), 0},
	} {
		d := received(t, l, tt.p, tt.limit)
		if !same(properties(&d), tt.p.Properties) || !bytes.Equal(d.Body, tt.p.Body) {
			t.Errorf("%s: got %#v\nwant %#v", tt.name, properties(&d), tt.p.Properties)
		}
	}
}

// Methods have no order that could differ: they are the same, byte for byte.
func TestMethodsAreTheLibrarys(t *testing.T) {
	l := open(t)
	for _, mandatory := range []bool{false, true} {
		method, _, _ := l.publish("exchange", "key", mandatory, amqp.Publishing{})
		own := frame.AppendPublish(nil, channel, &frame.Publish{Exchange: "exchange", Key: "key", Mandatory: mandatory}, 0)
		got, err := frame.Payload(own[:int(frame.ParseHead(own).Size)+frame.Overhead])
		check(t, err)
		if !bytes.Equal(got, method) {
			t.Errorf("publish, mandatory %v: got %x, want %x", mandatory, got, method)
		}
	}
	check(t, l.ch.Qos(0, 0, false))
	if got, want := frame.AppendQos(nil, channel), <-l.frames; !bytes.Equal(got, want) {
		t.Errorf("qos: got %x, want %x", got, want)
	}
	for _, yes := range []bool{false, true} {
		check(t, l.ch.Ack(1<<40, yes))
		if got, want := frame.AppendAck(nil, channel, 1<<40, yes), <-l.frames; !bytes.Equal(got, want) {
			t.Errorf("ack, multiple %v: got %x, want %x", yes, got, want)
		}
		check(t, l.ch.Nack(5, false, yes))
		if got, want := frame.AppendNack(nil, channel, 5, yes), <-l.frames; !bytes.Equal(got, want) {
			t.Errorf("nack, requeue %v: got %x, want %x", yes, got, want)
		}
	}
}

func TestEvents(t *testing.T) {
	tests := []struct {
		name  string
		id    byte
		args  string
		event frame.Event
		want  frame.Inbox
	}{
		{"ack", 80, "\x00\x00\x00\x00\x00\x00\x01\x00\x01", frame.Ack, frame.Inbox{Tag: 256, Multiple: true}},
		{"qos-ok", 11, "", frame.QosOK, frame.Inbox{}},
		{"nack", 120, "\x00\x00\x00\x00\x00\x00\x00\x02\x02", frame.Nack, frame.Inbox{Tag: 2}},
	}
	for _, tt := range tests {
		var in frame.Inbox
		payload, _ := frame.Payload(method(channel, 60, tt.id, tt.args))
		if event, err := in.Next(frame.Method, payload); err != nil || event != tt.event || !reflect.DeepEqual(in, tt.want) {
			t.Errorf("%s: got event %d, %v, %+v; want %d, %+v", tt.name, event, err, in, tt.event, tt.want)
		}
	}
	var in frame.Inbox
	payload, _ := frame.Payload(method(channel, 60, 50, "\x01\x38\x08NO_ROUTE\x01e\x01k"))
	_, err := in.Next(frame.Method, payload)
	check(t, err)
	if _, err := in.Next(frame.Header, []byte(strings.Repeat("\x00", 14))); err == nil {
		t.Error("a header of no class was taken")
	}
	event, err := in.Next(frame.Header, []byte("\x00\x3c"+strings.Repeat("\x00", 12)))
	if err != nil || event != frame.Return || in.Code != 312 || in.Reason != "NO_ROUTE" || in.Exchange != "e" || in.Key != "k" {
		t.Errorf("return: got event %d, %v, %+v", event, err, in)
	}
}

// A peer that does not keep to the protocol is found out.
func TestMalformed(t *testing.T) {
	routing, _ := frame.Payload(deliver("e", "k"))
	header := func(size string, rest string) string { return "\x00\x3c\x00\x00" + size + rest }
	const two = "\x00\x00\x00\x00\x00\x00\x00\x02"
	type step struct {
		typ     uint8
		payload string
	}
	delivery := step{frame.Method, string(routing)}
	for name, steps := range map[string][]step{
		"header first":               {{frame.Header, header(two, "\x00\x00")}},
		"body first":                 {{frame.Body, "x"}},
		"body before the header":     {delivery, {frame.Body, "x"}},
		"method in a message":        {delivery, delivery},
		"header twice":               {delivery, {frame.Header, header(two, "\x00\x00")}, {frame.Header, header(two, "\x00\x00")}},
		"more body than said":        {delivery, {frame.Header, header(two, "\x00\x00")}, {frame.Body, "xyz"}},
		"body of the largest size":   {delivery, {frame.Header, header("\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00")}},
		"heartbeat":                  {{8, ""}},
		"unknown type":               {{4, ""}},
		"method without a number":    {{frame.Method, "\x00\x3c"}},
		"unknown method":             {{frame.Method, "\x00\x3c\x00\x0c"}},
		"delivery cut short":         {{frame.Method, string(routing[:len(routing)-1])}},
		"ack cut short":              {{frame.Method, "\x00\x3c\x00\x50\x00\x00"}},
		"header cut short":           {delivery, {frame.Header, "\x00\x3c\x00\x00\x00"}},
		"property that is not there": {delivery, {frame.Header, header(two, "\x80\x00")}},
		"string longer than frame":   {delivery, {frame.Header, header(two, "\x80\x00\xffabc")}},
		"table longer than frame":    {delivery, {frame.Header, header(two, "\x20\x00\x7f\xff\xff\xff")}},
		"value without a type":       {delivery, {frame.Header, header(two, "\x20\x00\x00\x00\x00\x02\x01a")}},
		"value of an unknown type":   {delivery, {frame.Header, header(two, "\x20\x00\x00\x00\x00\x03\x01aZ")}},
		"deep table, cut short":      {delivery, {frame.Header, header(two, "\x20\x00"+long(nested('F', 40))[:270])}},
		"weight":                     {delivery, {frame.Header, "\x00\x3c\x00\x01" + two + "\x00\x00"}},
	} {
		var in frame.Inbox
		var err error
		for i, s := range steps {
			if err != nil {
				t.Errorf("%s: step %d failed with %v", name, i-1, err)
			}
			_, err = in.Next(s.typ, []byte(s.payload))
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := frame.Payload(method(1, 60, 80, "")[:11]); err == nil {
		t.Error("a frame without its end was taken")
	}
}

// What is written costs nothing but room, which the caller has.
func TestWritingAllocatesNothing(t *testing.T) {
	p := sent(make([]byte, 1000), map[string]any{"s": "text", "i": int64(1) << 40, "list": []any{"a"}})
	b := make([]byte, 0, 1<<16)
	n := testing.AllocsPerRun(100, func() {
		b = frame.AppendPublish(b[:0], channel, p, 512)
		b = frame.AppendAck(b, channel, 1, true)
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// A message costs one allocation with a body that is short, and two with one that is not.
func TestReadingAllocates(t *testing.T) {
	for size, want := range map[int]float64{0: 1, 16: 1, 1024: 1, 1025: 2} {
		p := frame.Publish{Exchange: "e", Key: "k", Body: make([]byte, size), Properties: frame.Properties{ContentType: "ct", CorrelationID: "c"}}
		frames := frame.AppendPublish(nil, channel, &p, 0)
		frames = append(deliver("e", "k"), frames[int(frame.ParseHead(frames).Size)+frame.Overhead:]...)
		var in frame.Inbox
		n := testing.AllocsPerRun(100, func() {
			for rest := frames; len(rest) > 0; {
				head := frame.ParseHead(rest)
				end := int(head.Size) + frame.Overhead
				payload, _ := frame.Payload(rest[:end])
				if _, err := in.Next(head.Type, payload); err != nil {
					t.Fatal(err)
				}
				rest = rest[end:]
			}
		})
		if n != want || len(in.Body) != size {
			t.Errorf("a body of %d bytes: %v allocations, want %v", size, n, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	routing, _ := frame.Payload(deliver("e", "k"))
	whole := frame.AppendPublish(nil, channel, sent([]byte("body"), map[string]any{"l": []any{int64(1), nil}}), 0)
	first := int(frame.ParseHead(whole).Size) + frame.Overhead
	f.Add(append(deliver("e", "k"), whole[first:]...))
	f.Add(method(channel, 60, 80, "\x00\x00\x00\x00\x00\x00\x00\x01\x00"))
	f.Add(build(frame.Method, channel, string(routing)+"junk"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in frame.Inbox
		for len(b) >= frame.Overhead {
			head := frame.ParseHead(b)
			size := int(head.Size) + frame.Overhead
			if size > len(b) {
				return
			}
			payload, err := frame.Payload(b[:size])
			if err != nil {
				return
			}
			if _, err := in.Next(head.Type, payload); err != nil {
				return
			}
			if len(in.Body) > len(b) {
				t.Fatalf("a body of %d bytes from %d", len(in.Body), len(b))
			}
			b = b[size:]
		}
	})
}

// FuzzHeader compares what the two make of the same header: what is taken here the library takes, too, and as the same. Some it does
// not know, or not so many.
func FuzzHeader(f *testing.F) {
	for _, p := range []*frame.Publish{sent(nil, map[string]any{"l": []any{int64(1), nil, "x"}, "t": time.Unix(1, 0)}), {}} {
		b := frame.AppendPublish(nil, channel, p, 0)
		header := b[int(frame.ParseHead(b).Size)+frame.Overhead:]
		f.Add(header[frame.HeadSize+12 : len(header)-1])
	}
	l := open(f)
	_, every, _ := l.publish("", "", false, amqp.Publishing{Headers: everyType})
	f.Add(every[12:])
	f.Fuzz(func(t *testing.T, b []byte) {
		payload := "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + string(b)
		var in frame.Inbox
		routing, _ := frame.Payload(deliver("e", "k"))
		if _, err := in.Next(frame.Method, routing); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Next(frame.Header, []byte(payload)); err != nil || len(b) > 8192 || bytes.ContainsRune(b, 'L') || bytes.Count(b, []byte("F"))+bytes.Count(b, []byte("A")) > 32 {
			return
		}
		d, ok := open(t).receive(append(deliver("e", "k"), build(frame.Header, channel, payload)...))
		if !ok {
			t.Fatal("taken here, and not by the library")
		}
		if want := properties(&d); !same(in.Properties, want) {
			t.Errorf("got  %#v\nwant %#v", in.Properties, want)
		}
	})
}
