package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"reflect"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// set sets each exported field of v but those that are not kept, so that a field that is added some day is not forgotten.
func set(t *testing.T, v any, except string) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		f := s.Type().Field(i)
		switch {
		case !f.IsExported() || f.Name == except:
		case f.Type.Kind() == reflect.String:
			s.Field(i).SetString("\x00 " + f.Name)
		case f.Type.Kind() == reflect.Slice:
			s.Field(i).SetBytes([]byte("\xff" + f.Name))
		case f.Type.Kind() == reflect.Bool:
			s.Field(i).SetBool(true)
		case s.Field(i).CanInt():
			s.Field(i).SetInt(-1 << 62)
		case s.Field(i).CanUint():
			s.Field(i).SetUint(2)
		default:
			t.Fatalf("field %s of type %s", f.Name, f.Type)
		}
	}
}

func TestRecordIsKept(t *testing.T) {
	var reply rpc.Reply
	var failed rpc.Error
	set(t, &reply, "Replayed")
	set(t, &failed, "")
	for _, want := range []*idempotency.Record{
		{Reply: &reply},
		{Reply: &rpc.Reply{}},
		{Reply: &rpc.Reply{Body: []byte{}}},
		{Err: &failed},
		{Err: &rpc.Error{}},
		{Err: &rpc.Error{Code: 200, Details: []byte{}, RetryAfter: 1<<63 - 1, Executed: 100}},
	} {
		got, err := parseRecord(appendRecord(nil, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("record = %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestEncodingIsStable(t *testing.T) {
	reply := &idempotency.Record{Reply: &rpc.Reply{ContentType: "t", Server: "s", Body: []byte("b")}}
	failed := &idempotency.Record{Err: &rpc.Error{
		Code: rpc.NotFound, Message: "m", Details: []byte("d"), RetryAfter: 300, Executed: rpc.ExecutedYes, Remote: true,
	}}
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{appendRecord(nil, reply), "01027402730262"},
		{appendRecord(nil, failed), "0205026d0264ac020201"},
		{(&entry{
			state: done, at: time.Unix(1, 2), fingerprint: idempotency.Fingerprint{0: 0xf0, 31: 0x0f}, claims: 3, fence: 4, record: []byte{5},
		}).bytes(), "0103" + "000000003b9aca02" + "f00000000000000000000000000000000000000000000000000000000000000f" +
			"00000003" + "0000000000000004" + "05" + "8009a6b9"},
		{ageKey(time.Unix(1, 2), callID{0: 0xf0, 31: 0x0f}), "000000003b9aca02" + "f00000000000000000000000000000000000000000000000000000000000000f"},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// An entry with any bit turned is damaged.
func TestEntryIsChecked(t *testing.T) {
	whole := (&entry{state: done, at: time.Unix(1, 2), record: []byte("record")}).bytes()
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if e, err := parseEntry(b); !errors.Is(err, errDamaged) {
			t.Errorf("entry = %+v, %v with bit %d turned", e, err, bit)
		}
	}
	for n := range whole {
		if e, err := parseEntry(whole[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("entry = %+v, %v of %d bytes", e, err, n)
		}
	}
	future := bytes.Clone(whole[:len(whole)-crc32.Size])
	future[0] = 2
	future = binary.BigEndian.AppendUint32(future, crc32.Checksum(future, castagnoli))
	if e, err := parseEntry(future); !errors.Is(err, errDamaged) {
		t.Errorf("entry = %+v, %v of another version", e, err)
	}
}

func TestRecordIsChecked(t *testing.T) {
	whole := appendRecord(nil, &idempotency.Record{Err: &rpc.Error{Code: rpc.NotFound, Message: "m", Details: []byte("d")}})
	var all [][]byte
	for n := range whole {
		all = append(all, whole[:n])
	}
	all = append(all, append(bytes.Clone(whole), 0), []byte{recordReply, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	for _, b := range all {
		if r, err := parseRecord(b); !errors.Is(err, errDamaged) {
			t.Errorf("record = %+v, %v of %x", r, err, b)
		}
	}
}

// The pages that an entry is read from are gone when the transaction is.
func TestAnswerSharesNoMemory(t *testing.T) {
	b := (&entry{state: done, record: appendRecord(nil, reply(1))}).bytes()
	e, err := parseEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	r := e.recall(idempotency.Fingerprint{})
	clear(b)
	record, err := parseRecord(r.record)
	if err != nil {
		t.Fatal(err)
	}
	clear(r.record)
	if got := string(record.Reply.Body); got != "reply 1" {
		t.Errorf("reply = %q", got)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(appendRecord(nil, &idempotency.Record{Reply: &rpc.Reply{ContentType: "t", Server: "s", Body: []byte("b")}}))
	f.Add(appendRecord(nil, &idempotency.Record{Err: &rpc.Error{Code: rpc.NotFound, Message: "m", Details: []byte("d"), RetryAfter: 300}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("error %v", err)
			}
			return
		}
		if (r.Reply == nil) == (r.Err == nil) {
			t.Errorf("record = %+v", r)
		}
		if again, err := parseRecord(appendRecord(nil, r)); err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("record = %+v, %v, want %+v", again, err, r)
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	f.Add((&entry{state: done, at: time.Unix(1, 2), claims: 3, fence: 4, record: []byte("record")}).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parseEntry(b); err == nil && !bytes.Equal(e.bytes(), b) {
			t.Errorf("entry %x is %x again", b, e.bytes())
		}
	})
}
