package interop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// A peer is a caller in peers.py.
type peer struct {
	Queue string         `json:"queue"`
	Body  string         `json:"body"`
	Reply string         `json:"reply"`
	Props map[string]any `json:"props,omitempty"`
	Times int            `json:"times,omitempty"`
	Wait  float64        `json:"wait,omitempty"` // seconds for each reply
}

type reply struct{ Body, ID, Type string }

// call lets peers call, all at once, and returns the replies of each; nil for one that did not come.
func call(t *testing.T, peers ...peer) [][]*reply {
	t.Helper()
	in, err := json.Marshal(map[string]any{"url": testbroker.URL(t), "peers": peers})
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, script(t, "peers.py"), bytes.NewReader(in))
	var replies [][]*reply
	if err := json.Unmarshal(out, &replies); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return replies
}

func TestPeers(t *testing.T) {
	const queue = "interop_peers"
	serve(t, queue)
	u, err := url.Parse(testbroker.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	type props = map[string]any
	for _, tt := range []struct {
		name  string
		reply string
		props props
	}{
		{"queue named by the server", "", props{"correlation_id": "a"}},
		{"direct reply-to", "direct", props{"correlation_id": "a"}},
		{"exclusive queue with a name of its own", "interop.replies-1", props{"correlation_id": "a"}},
		{"no correlation id", "", nil},
		{"no correlation id, direct reply-to", "direct", nil},
		{"text/plain", "", props{"content_type": "text/plain"}},
		{"text/plain with charset", "", props{"content_type": "text/plain; charset=utf-8", "content_encoding": "utf-8"}},
		{"application/octet-stream", "", props{"content_type": "application/octet-stream"}},
		{"application/json", "", props{"content_type": "application/json", "content_encoding": "utf-8"}},
		{"expiration", "", props{"expiration": "60000"}},
		{"user id", "", props{"user_id": u.User.Username()}},
		{"timestamp in seconds", "", props{"timestamp": 1700000000}},
		{"timestamp of long ago", "", props{"timestamp": 1}},
		{"priority", "", props{"priority": 9}},
		{"persistent", "", props{"delivery_mode": 2, "correlation_id": "a"}},
		{"app id, message id, headers", "", props{"app_id": "a", "message_id": "m", "headers": props{
			"n": 1, "text": "x", "flag": true, "none": nil, "list": []int{1, 2}, "table": props{"deep": 1}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := call(t, peer{Queue: queue, Body: "30", Reply: tt.reply, Props: tt.props})[0][0]
			if got == nil {
				t.Fatal("no reply")
			}
			id, _ := tt.props["correlation_id"].(string)
			if got.Body != "832040" || got.ID != id {
				t.Errorf("got %+v, want 832040 with the correlation id %q", got, id)
			}
		})
	}
}

// TestPeersWithOneID: correlation ids of such peers repeat, and must not make one get what another has asked for.
func TestPeersWithOneID(t *testing.T) {
	const queue = "interop_one_id"
	serve(t, queue)
	for _, tt := range []struct {
		name string
		id   any
	}{
		{"the same id", "1"},
		{"none", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var peers []peer
			for i := range 8 {
				p := peer{Queue: queue, Body: fmt.Sprint(20 + i), Times: 10}
				if i%2 == 1 {
					p.Reply = "direct"
				}
				if tt.id != nil {
					p.Props = map[string]any{"correlation_id": tt.id}
				}
				peers = append(peers, p)
			}
			for i, replies := range call(t, peers...) {
				for n, got := range replies {
					if want := fmt.Sprint(fibonacci(20 + i)); got == nil || got.Body != want {
						t.Fatalf("peer %d, call %d: got %+v, want %s", i, n, got, want)
					}
				}
			}
		})
	}
}
