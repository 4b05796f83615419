package endtoend

import (
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// 2000 duplicates of one call, from 20 connections, to three servers that share a database: one effect, and 2000 times the
// same reply.
func TestManyDuplicates(t *testing.T) {
	const connections, each = 20, 100
	url := testbroker.URL(t)
	m := open(t, url)
	sp := spec{URL: url, Service: service(t, m).Service, Store: "postgres", Database: testpostgres.URL(t)}
	makeLedger(t, sp.Database)
	for range 3 {
		start(t, sp)
	}
	var mu sync.Mutex // guards replies
	replies := make(map[string]int)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			got := make(chan *conn.Message, each)
			s, err := open(t, url).Session(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true, AutoDelete: true})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Consume(t.Context(), conn.Consume{Queue: q.Name, NoAck: true}, func(d *conn.Delivery) {
				if !wire.SaysRunning(&d.Message) { // on a slow machine they wait for long
					got <- &d.Message
				}
			}); err != nil {
				t.Error(err)
				return
			}
			p, err := s.OpenPublisher(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			r := &rpc.Request{Service: sp.Service, Method: "effect", ContentType: rpc.ContentTypeJSON, Body: []byte(`"one"`), ID: "one", Client: "shared", Attempt: 1}
			for range each {
				m := wire.EncodeRequest(r, wire.Attempt{Mode: wire.Queued, ReplyTo: q.Name, Timeout: time.Minute})
				if err := p.Publish(m, nil); err != nil {
					t.Error(err)
				}
			}
			limit := time.After(time.Minute)
			for range each {
				select {
				case m := <-got:
					reply, err := wire.DecodeReply(m)
					mu.Lock()
					if err != nil {
						replies[err.Error()]++
					} else {
						replies[string(reply.Body)]++
					}
					mu.Unlock()
				case <-limit:
					t.Error("a reply is missing")
					return
				}
			}
		})
	}
	wg.Wait()
	effects := sp.effects(t, "one")
	if len(effects) != 1 || len(replies) != 1 || replies[`"`+effects[0]+`"`] != connections*each {
		t.Errorf("effects %v and replies %v, want one effect and %d times its reply", effects, replies, connections*each)
	}
}
