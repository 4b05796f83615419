package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// peer is a server made by hand, of people who never heard of this library: it consumes from queue and publishes what
// answer returns, to the reply-to and with the correlation id of the request unless they say otherwise.
func (r *rig) peer(queue conn.Queue, answer func(m *conn.Message) []conn.Message) *conntest.Connector {
	r.t.Helper()
	c := r.broker.Connector("peer")
	ctx := r.t.Context()
	s, err := c.Session(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := s.DeclareQueue(ctx, queue); err != nil {
		r.t.Fatal(err)
	}
	p, err := s.OpenPublisher(ctx, func(*conn.Return) {})
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = s.Consume(ctx, conn.Consume{Queue: queue.Name, Prefetch: 1}, func(d *conn.Delivery) {
		for _, m := range answer(&d.Message) {
			if m.Key == "" {
				m.Key = d.ReplyTo
			}
			if m.CorrelationID == "" {
				m.CorrelationID = d.CorrelationID
			}
			p.Publish(&m, nil)
		}
		d.Ack()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		synctest.Wait() // it acknowledges after the reply
		c.Close(context.Background())
	})
	return c
}

// A reply that is too long is not kept, and its call says so. One more byte than is allowed must be, to tell.
func TestMaxReply(t *testing.T) {
	var most []int
	wrap := func(c conn.Connector) conn.Connector {
		return &hooked{Connector: c, consume: func(c conn.Consume) error { most = append(most, c.MaxBody); return nil }}
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wrap, client.WithQueue("rpc_queue"), client.WithMaxReply(100))
		r.peer(conn.Queue{Name: "rpc_queue"}, func(m *conn.Message) []conn.Message {
			return []conn.Message{{Body: bytes.Repeat([]byte("1"), len(m.Body))}}
		})
		ask := func(n int) (*rpc.Reply, error) {
			return r.client.Do(t.Context(), &rpc.Request{Service: "math", Method: "ones", Body: make([]byte, n)})
		}
		if reply, err := ask(100); err != nil || len(reply.Body) != 100 {
			t.Errorf("got %v, %v", reply, err)
		}
		reply, err := ask(101)
		if rpc.CodeOf(err) != rpc.ResourceExhausted || rpc.Executed(err) != rpc.ExecutedYes || !strings.Contains(err.Error(), "more than 100 bytes") {
			t.Errorf("got %v, %v, executed %v", reply, err, rpc.Executed(err))
		}
		if len(most) != 1 || most[0] != 100 {
			t.Errorf("the consumer takes %v bytes, want 100", most)
		}
	})
}

// Of all that comes into the reply queue each call gets its own answer, and no other.
func TestRepliesOfNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var others []string // IDs of calls that were answered
		r.peer(conn.Queue{Name: "rpc_queue"}, func(m *conn.Message) []conn.Message {
			right, wrong := conn.Message{Body: append(m.Body, '0')}, conn.Message{Body: []byte("666")}
			forged := wrong
			forged.CorrelationID = "forged"
			answers := []conn.Message{forged, right, right}
			for _, id := range others {
				late := wrong
				late.CorrelationID = id
				answers = append(answers, late)
			}
			others = append(others, m.CorrelationID)
			return answers
		})
		for n := range 10 {
			if got, err := r.call(t.Context(), n+1); got != 10*(n+1) || err != nil {
				t.Errorf("call %d: got %d, %v", n+1, got, err)
			}
		}
		synctest.Wait()
		if got, want := r.client.Stats().Late, uint64(10+10+45); got != want {
			t.Errorf("counted %d, want %d: one forged and one duplicate for each call, and one late for each before", got, want)
		}
	}, client.WithQueue("rpc_queue"))
}

func TestRemoteError(t *testing.T) {
	want := &rpc.Error{
		Code: rpc.ResourceExhausted, Message: "over quota", Details: json.RawMessage(`{"limit":10}`),
		RetryAfter: 250 * time.Millisecond, Executed: rpc.ExecutedYes, Remote: true,
	}
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), func(context.Context, int) (int, error) {
			return 0, rpc.Errorf(want.Code, "%s", want.Message).WithDetails(map[string]int{"limit": 10}).WithRetryAfter(want.RetryAfter)
		})
		got, err := r.call(t.Context(), 1)
		e, ok := errors.AsType[*rpc.Error](err)
		if got != 0 || !ok || fmt.Sprintf("%+v", *e) != fmt.Sprintf("%+v", *want) {
			t.Errorf("got %d, %+v, want %+v", got, err, want)
		}
		if errors.Is(err, rpc.ErrNoAnswer) {
			t.Error("an answer of the server passes for none")
		}
		if got, want := r.client.Stats(), (client.Stats{Calls: 1, Failed: 1, Limit: 10_000}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestUnreadableReply(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply conn.Message
	}{
		{"no JSON", conn.Message{Body: []byte("<html>")}},
		{"another type", conn.Message{Body: []byte(`"42"`)}},
		{"trailing garbage", conn.Message{Body: []byte("42 42")}},
		{"nothing", conn.Message{}},
		{"content type without a codec", conn.Message{ContentType: "image/png", Body: []byte("42")}},
		{"malformed content type", conn.Message{ContentType: "\x00", Body: []byte("42")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.peer(conn.Queue{Name: "rpc_queue"}, func(*conn.Message) []conn.Message { return []conn.Message{c.reply} })
				_, err := r.call(t.Context(), 21)
				check(t, err, rpc.Internal, rpc.ExecutedYes, rpc.ErrNoAnswer)
			}, client.WithQueue("rpc_queue"))
		})
	}
}

func TestTutorialServer(t *testing.T) {
	for _, method := range []string{"", rpc.ContentTypeJSON, rpc.ContentTypeText} {
		for _, c := range []struct {
			name  string
			reply conn.Message
		}{
			{"no content type", conn.Message{}},
			{"octets", conn.Message{ContentType: "application/octet-stream"}},
			{"text", conn.Message{ContentType: "text/plain"}},
			{"text in UTF-8", conn.Message{ContentType: "text/plain; charset=utf-8", ContentEncoding: "utf-8"}},
			{"JSON", conn.Message{ContentType: "application/json"}},
		} {
			t.Run(fmt.Sprintf("method %q, %s", method, c.name), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					r.peer(conn.Queue{Name: "rpc_queue"}, func(m *conn.Message) []conn.Message {
						if string(m.Body) != "30" || m.Key != "rpc_queue" || m.Exchange != "" || m.Headers["CC"] != nil {
							t.Errorf("the server got %+v", m)
						}
						c.reply.Body = []byte("832040")
						return []conn.Message{c.reply}
					})
					fib := rpc.Method[int, int]{ContentType: method} // no service, no method: there is but one
					if got, err := client.Call(t.Context(), r.client, fib, 30); got != 832040 || err != nil {
						t.Errorf("got %d, %v, want 832040", got, err)
					}
				}, client.WithQueue("rpc_queue"))
			})
		}
	}
}

func TestPlainQueue(t *testing.T) {
	echo := func(m *conn.Message) []conn.Message { return []conn.Message{{Body: m.Body}} }
	silence := func(*conn.Message) []conn.Message { return nil }
	for _, c := range []struct {
		name     string
		serve    func(r *rig)
		code     rpc.Code
		executed rpc.Execution
		took     time.Duration
	}{
		{"no queue", func(*rig) {}, rpc.Unavailable, rpc.ExecutedNo, 0},
		{"queue, no server", func(r *rig) { r.peer(conn.Queue{Name: "rpc_queue"}, echo).Lose() }, rpc.Unavailable, rpc.ExecutedNo, 0},
		{"server, no answer", func(r *rig) { r.peer(conn.Queue{Name: "rpc_queue"}, silence) }, rpc.DeadlineExceeded, rpc.ExecutedUnknown, 10 * time.Second},
		{"server", func(r *rig) { r.peer(conn.Queue{Name: "rpc_queue"}, echo) }, rpc.OK, rpc.ExecutedYes, 0},
		{"queue is the server's own", func(r *rig) { r.peer(conn.Queue{Name: "rpc_queue", Exclusive: true}, echo) }, rpc.OK, rpc.ExecutedYes, 0},
		{"server dies, another is there", func(r *rig) {
			var first *conntest.Connector
			first = r.peer(conn.Queue{Name: "rpc_queue"}, func(*conn.Message) []conn.Message { first.Lose(); return nil })
			r.peer(conn.Queue{Name: "rpc_queue"}, echo)
		}, rpc.OK, rpc.ExecutedYes, 0},
		{"session lost", func(r *rig) {
			r.peer(conn.Queue{Name: "rpc_queue"}, echo)
			r.conn.Fail(conntest.LoseBeforePublish(1))
		}, rpc.OK, rpc.ExecutedYes, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				c.serve(r)
				start := time.Now()
				_, err := r.call(t.Context(), 21)
				check(t, err, c.code, c.executed)
				took(t, start, c.took)
			}, client.WithQueue("rpc_queue"))
		})
	}
}

// A request that nobody takes before the deadline is gone then, from a foreign queue too.
func TestPlainRequestExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.peer(conn.Queue{Name: "rpc_queue"}, func(m *conn.Message) []conn.Message {
			time.Sleep(5 * time.Second)
			return []conn.Message{{Body: m.Body}}
		})
		var calls sync.WaitGroup
		calls.Go(func() {
			_, err := r.call(t.Context(), 1)
			check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		})
		synctest.Wait()
		start := time.Now()
		_, err := r.call(t.Context(), 2)
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		took(t, start, time.Second)
		calls.Wait()
		synctest.Wait()
		if q, _ := r.broker.Queue("rpc_queue"); q.Ready != 0 {
			t.Errorf("left in the queue: %+v", q)
		}
		time.Sleep(4 * time.Second)
	}, client.WithQueue("rpc_queue"), client.WithTimeout(time.Second))
}

func TestManyCalls(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				first, second := r.broker.Connector("first"), r.broker.Connector("second")
				for _, c := range []*conntest.Connector{first, second} {
					r.serve(c, func(_ context.Context, n int) (int, error) {
						time.Sleep(time.Duration(n%7) * time.Millisecond)
						return 2 * n, nil
					}, server.WithWorkers(64))
				}
				random := rand.New(rand.NewPCG(seed, 0))
				for range 3 {
					r.conn.Fail(conntest.LoseAfterPublish(1 + random.IntN(500)))
					r.conn.Fail(conntest.LoseBeforePublish(1 + random.IntN(500)))
					r.conn.Fail(conntest.FailPublish(1 + random.IntN(500)))
					first.Fail(conntest.LoseAck(1 + random.IntN(200)))
					first.Fail(conntest.LoseBeforePublish(1 + random.IntN(200)))
					second.Fail(conntest.DuplicateDelivery(1 + random.IntN(200)))
				}
				var calls sync.WaitGroup
				for n := range 500 {
					calls.Go(func() { r.mustCall(n) })
				}
				calls.Wait()
				time.Sleep(time.Second)
				if got := r.client.Stats(); got.Resent < 9 || got.OK != 500 {
					t.Errorf("got %+v, want 500 ok and some sent again", got)
				}
			})
		})
	}
}

// A caller may use one ID for calls of two methods, which are two calls, or by mistake for two payloads. What comes late for
// the first is not the answer to the second, and still one to the first, should that be made again.
func TestSameIDForAnotherCall(t *testing.T) {
	triple := double
	triple.Name = "triple"
	for _, c := range []struct {
		name   string
		method rpc.Method[int, int]
		n      int
		want   int
	}{
		{"another method", triple, 7, 21},
		{"another payload", double, 8, 0}, // refused
		{"the same call", double, 7, 14},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s, err := server.New(r.broker.Connector("server"), "math", quiet)
				if err != nil {
					t.Fatal(err)
				}
				server.Handle(s, double, slow(time.Second))
				server.Handle(s, triple, func(_ context.Context, n int) (int, error) { time.Sleep(2 * time.Second); return 3 * n, nil })
				r.run(s)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				client.Call(ctx, r.client, double, 7, client.WithCallID("1")) // ends too soon
				ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				got, err := client.Call(ctx, r.client, c.method, c.n, client.WithCallID("1"))
				if refused := rpc.CodeOf(err) == rpc.InvalidArgument; got != c.want || refused != (c.want == 0) {
					t.Errorf("got %d, %v, want %d", got, err, c.want)
				}
			})
		})
	}
}
