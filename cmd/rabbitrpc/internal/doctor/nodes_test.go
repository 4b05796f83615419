package doctor

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
)

// Nodes of one cluster know each other's queues, those of two do not.
func TestNodes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		brokers []int // of each address
		want    Status
		text    string
	}{
		{"one cluster", []int{0, 0, 0}, OK, "3, which know"},
		{"split", []int{0, 1, 0}, Problem, "b does not know a queue of a; a does not know a queue of b; c does not know a queue of b; b does not know a queue of c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				brokers := []*conntest.Broker{conntest.NewBroker(), conntest.NewBroker()}
				var all []node
				for i, b := range tt.brokers {
					s, err := brokers[b].Connector("doctor").Dial(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, node{name: string(rune('a' + i)), session: s})
				}
				got := agree(t.Context(), all)
				if got.Status != tt.want || !strings.Contains(got.Text, tt.text) || (tt.want != OK) != (got.Cure != "") {
					t.Errorf("got %+v", got)
				}
				all[0].session.Close(t.Context())
				if got := agree(t.Context(), all); got.Status != Skipped {
					t.Errorf("with a session that has ended: got %+v", got)
				}
				for _, b := range brokers {
					b.Close()
				}
			})
		})
	}
}
