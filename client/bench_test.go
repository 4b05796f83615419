package client

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// BenchmarkPending is a call that is added, answered and removed, with as many others waiting as its name says.
func BenchmarkPending(b *testing.B) {
	for _, waiting := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			p := newPending()
			for i := range waiting {
				p.add(newCall(context.Background(), &rpc.Request{ID: fmt.Sprint(i)}))
			}
			r := &rpc.Request{ID: "0b6e2f3c8d1a4b5c9e7f0a1b2c3d4e5f"}
			reply := &conn.Message{CorrelationID: r.ID}
			b.ReportAllocs()
			for b.Loop() {
				c := newCall(context.Background(), r)
				p.add(c)
				c.begin(wire.Plain, false, time.Time{})
				if !p.get(r.ID).accept(reply) {
					b.Fatal("the reply was not taken")
				}
				<-c.news
				p.remove(c, false)
			}
		})
	}
}

// BenchmarkBreaker is what the breaker of a service that can be reached costs a call.
func BenchmarkBreaker(b *testing.B) {
	c := &Client{}
	svc := &service{breaker: newBreaker("math", nil)}
	b.ReportAllocs()
	for b.Loop() {
		permit, err := c.allow(b.Context(), svc, nil, &manner{})
		if err != nil {
			b.Fatal(err)
		}
		permit.done(nil)
	}
}
