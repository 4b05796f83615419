package chaos_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// Faults are values: they say what they are, and come back from JSON as they were.
func TestFaultValues(t *testing.T) {
	for _, tt := range []struct {
		fault chaos.Fault
		text  string
		json  string
	}{
		{chaos.Latency{Delay: 500 * time.Millisecond, Jitter: 400 * time.Millisecond}, "latency 500ms±400ms, both ways",
			`{"latency":{"delay":"500ms","jitter":"400ms"}}`},
		{chaos.Latency{Delay: time.Second, Dir: chaos.ToBroker}, "latency 1s, to broker", `{"latency":{"delay":"1s","dir":"to broker"}}`},
		{chaos.Bandwidth{BytesPerSecond: 1024, Conn: "billing"}, `1024 bytes/s, both ways, on connections named "billing"`,
			`{"bandwidth":{"bytesPerSecond":1024,"conn":"billing"}}`},
		{chaos.Stall{}, "stall, both ways", `{"stall":{}}`},
		{chaos.HalfOpen{Dir: chaos.ToClient}, "half-open, to client", `{"half-open":{"dir":"to client"}}`},
		{chaos.Reset{}, "reset, both ways", `{"reset":{}}`},
		{chaos.HangUp{}, "hang up, both ways", `{"hang-up":{}}`},
		{chaos.Refuse{}, "refuse connections", `{"refuse":{}}`},
		{chaos.Impostor{}, "accept and say nothing", `{"impostor":{}}`},
		{chaos.Impostor{Says: "220 mail\r\n", Closes: true}, `accept and say "220 mail\r\n", then close`,
			`{"impostor":{"says":"220 mail\r\n","closes":true}}`},
		{chaos.Drop{Method: "basic.ack", Dir: chaos.ToClient}, "drop each basic.ack, to client",
			`{"drop":{"method":"basic.ack","dir":"to client"}}`},
		{chaos.Delay{Method: "basic.deliver", For: time.Minute, Nth: 2}, "delay basic.deliver 2 by 1m0s, both ways",
			`{"delay":{"method":"basic.deliver","for":"1m0s","nth":2}}`},
		{chaos.Duplicate{Method: "heartbeat"}, "duplicate each heartbeat, both ways", `{"duplicate":{"method":"heartbeat"}}`},
		{chaos.Cut{Bytes: 100}, "cut each connection after 100 bytes, both ways", `{"cut":{"bytes":100}}`},
		{chaos.Cut{Method: "basic.publish", Nth: 1, Bytes: 7}, "cut after 7 bytes of basic.publish 1, both ways",
			`{"cut":{"method":"basic.publish","nth":1,"bytes":7}}`},
		{chaos.Cut{Method: "basic.publish"}, "cut before each basic.publish, both ways", `{"cut":{"method":"basic.publish"}}`},
		{chaos.Cut{Method: "tx.commit", Bytes: chaos.Whole}, "cut after each tx.commit, both ways",
			`{"cut":{"method":"tx.commit","bytes":-1}}`},
	} {
		if got := tt.fault.String(); got != tt.text {
			t.Errorf("got %q, want %q", got, tt.text)
		}
		b, err := json.Marshal([]chaos.AnyFault{{Fault: tt.fault}})
		if got := string(b); got != "["+tt.json+"]" || err != nil {
			t.Errorf("%v: got %s, %v, want [%s]", tt.fault, got, err, tt.json)
		}
		var back []chaos.AnyFault
		if err := json.Unmarshal(b, &back); err != nil || len(back) != 1 || back[0].Fault != tt.fault {
			t.Errorf("%s: got %#v, %v, want %#v", b, back, err, tt.fault)
		}
	}
}

func TestInvalidFaults(t *testing.T) {
	for text, want := range map[string]string{
		`{"latency":{"delay":"0s"}}`:                                "positive",
		`{"latency":{"delay":"2562047h","jitter":"2562047h"}}`:      "up to 24h",
		`{"delay":{"method":"basic.ack","for":"25h"}}`:              "up to 24h",
		`{"cut":{"bytes":9223372036854775807}}`:                     "bytes must be",
		`{"latency":{"delay":"1s","jitter":"2s"}}`:                  "jitter",
		`{"latency":{"delay":1}}`:                                   "json",
		`{"latency":{"delay":"1s","mean":"1s"}}`:                    "mean",
		`{"bandwidth":{}}`:                                          "at least 1",
		`{"stall":{"dir":"sideways"}}`:                              "no direction",
		`{"drop":{}}`:                                               "no method",
		`{"drop":{"method":"basic.pubish"}}`:                        "no method",
		`{"drop":{"method":"basic.ack","nth":-1}}`:                  "nth",
		`{"delay":{"method":"basic.ack"}}`:                          "positive",
		`{"duplicate":{"method":"ack"}}`:                            "no method",
		`{"cut":{"bytes":-1}}`:                                      "whole",
		`{"cut":{"bytes":-2,"method":"basic.ack"}}`:                 "bytes",
		`{"cut":{"nth":-2}}`:                                        "nth",
		`{"impostor":{"says":"` + strings.Repeat("x", 4097) + `"}}`: "4096",
		`{"fire":{}}`:                                               "no kind",
		`{}`:                                                        "one field",
		`{"stall":{},"cut":{}}`:                                     "one field",
		`[]`:                                                        "json",
	} {
		var f chaos.AnyFault
		if err := json.Unmarshal([]byte(text), &f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want an error with %q", text, err, want)
		}
	}
	for _, f := range []chaos.Fault{chaos.Stall{Dir: 7}, chaos.Drop{Method: "ack"}, &chaos.Cut{Bytes: -1}, chaos.AnyFault{Fault: chaos.Latency{}}} {
		p := proxy(t, "amqp://127.0.0.1")
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%#v was taken", f)
				}
			}()
			p.Inject(f)
		}()
	}
}
