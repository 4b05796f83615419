package conntest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
)

func has(struck <-chan struct{}) bool {
	select {
	case <-struck:
		return true
	default:
		return false
	}
}

func TestPublishFaults(t *testing.T) {
	for _, c := range []struct {
		name     string
		fault    conntest.Fault
		verdicts string // on three messages, of which the second meets the fault
		arrived  int
		over     bool
		fails    bool
	}{
		{"session lost, message too", conntest.LoseBeforePublish(2), "1:true 3:true", 2, true, false},
		{"session lost, message arrived", conntest.LoseAfterPublish(2), "1:true 3:true", 3, true, false},
		{"publish fails, message arrived", conntest.FailPublish(2), "1:true 3:true", 3, true, true},
		{"message refused", conntest.RefusePublish(2), "1:true 2:false 3:true", 2, false, false},
		{"confirmation lost", conntest.DropConfirm(2), "1:true 3:true", 3, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *conntest.Broker) {
				a := b.Connector("a")
				declare(t, a, conn.Queue{Name: "q"})
				first := session(t, a)
				struck := a.Fail(c.fault)
				verdicts := ""
				for i := 1; i <= 3; i++ {
					err := publisher(t, session(t, a)).Publish(&conn.Message{Key: "q"}, func(ok bool) {
						verdicts += fmt.Sprintf("%d:%v ", i, ok)
					})
					if (err != nil) != (c.fails && i == 2) || conn.NotSent(err) {
						t.Errorf("publish %d: %v, not sent: %v", i, err, conn.NotSent(err))
					}
					if got := has(struck); got != (i >= 2) {
						t.Errorf("publish %d: fault has struck: %v", i, got)
					}
					synctest.Wait()
				}
				if verdicts != c.verdicts+" " {
					t.Errorf("confirmed %q, want %q", verdicts, c.verdicts)
				}
				if got := state(t, b, "q").Ready; got != c.arrived {
					t.Errorf("%d messages arrived, want %d", got, c.arrived)
				}
				if got := first.Err() != nil; got != c.over {
					t.Errorf("session is over: %v, want %v", got, c.over)
				}
			})
		})
	}
}

// A confirmation that nobody asked for does not use up the fault.
func TestDropConfirmCountsConfirmations(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a := b.Connector("a")
		p := publisher(t, session(t, a))
		struck := a.Fail(conntest.DropConfirm(1))
		p.Publish(&conn.Message{Key: "x"}, nil)
		if has(struck) {
			t.Error("struck at a publish without confirmation")
		}
		p.Publish(&conn.Message{Key: "x"}, func(bool) { t.Error("confirmed") })
		if !has(struck) {
			t.Error("did not strike")
		}
	})
}

func TestDeliveryFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault conntest.Fault
		want  []string
	}{
		{"no fault", conntest.LoseAck(9), []string{"1", "2", "3"}},
		{"delivery duplicated", conntest.DuplicateDelivery(2), []string{"1", "2", "2", "3"}},
		{"acknowledgement lost", conntest.LoseAck(2), []string{"1", "2", "lost", "2 again", "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *conntest.Broker) {
				a, other := b.Connector("a"), b.Connector("other")
				declare(t, a, conn.Queue{Name: "q"})
				a.Fail(c.fault)
				var got []string
				consume := func() conn.Session {
					s := session(t, a)
					consume(t, s, "q", 1, func(d *conn.Delivery) {
						got = append(got, string(d.Body)+map[bool]string{true: " again"}[d.Redelivered])
						if err := d.Ack(); err != nil {
							t.Error(err)
						}
					})
					return s
				}
				s := consume()
				send(t, other, "q", "1", "2", "3")
				synctest.Wait()
				if s.Err() != nil {
					got = append(got, "lost")
					consume()
				}
				synctest.Wait()
				if !slices.Equal(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if got, want := state(t, b, "q"), (conntest.QueueState{Name: "q", Consumers: 1}); got != want {
					t.Errorf("queue is left as %+v, want %+v", got, want)
				}
			})
		})
	}
}

// Faults belong to one process, and each counts for itself.
func TestFaultsOfOneConnector(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a, other := b.Connector("a"), b.Connector("other")
		declare(t, a, conn.Queue{Name: "q"})
		one, two := a.Fail(conntest.RefusePublish(1)), a.Fail(conntest.RefusePublish(2))
		send(t, other, "q", "x")
		if has(one) || has(two) {
			t.Error("struck at somebody else's publish")
		}
		send(t, a, "q", "refused")
		if !has(one) || has(two) {
			t.Error("the wrong fault struck")
		}
		send(t, a, "q", "refused", "arrives")
		if !has(two) {
			t.Error("did not strike")
		}
		if got := state(t, b, "q").Ready; got != 2 {
			t.Errorf("%d messages arrived, want 2", got)
		}
	})
}

func TestLose(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a, other := b.Connector("a"), b.Connector("other")
		declare(t, other, conn.Queue{Name: "q", Durable: true, Args: map[string]any{
			"x-queue-type": "quorum", "x-delivery-limit": 1, // or it is gone if one session gets what the other gives back
		}})
		shared := session(t, a)
		own, err := a.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var held []*conn.Delivery
		for _, s := range []conn.Session{shared, own} {
			consume(t, s, "q", 9, func(d *conn.Delivery) { held = append(held, d) })
			send(t, other, "q", "x")
			synctest.Wait()
		}
		a.Lose()
		for _, s := range []conn.Session{shared, own} {
			if err := s.Err(); err == nil || errors.Is(err, conn.ErrClosed) {
				t.Errorf("cause is %v, want a lost connection", err)
			}
		}
		for _, d := range held {
			if err := d.Ack(); !errors.Is(err, conn.ErrClosed) {
				t.Errorf("ack: %v, want ErrClosed", err)
			}
		}
		if got, want := state(t, b, "q"), (conntest.QueueState{Name: "q", Ready: 2}); got != want {
			t.Errorf("queue is %+v, want %+v", got, want)
		}
		if session(t, a) == shared || session(t, other).Err() != nil {
			t.Error("the wrong session was replaced")
		}
	})
}

// Once Publish has returned the message is its caller's again: what is late arrives as it was.
func TestLateIsACopy(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a, other := b.Connector("a"), b.Connector("other")
		declare(t, other, conn.Queue{Name: "q"})
		var got []string
		consume(t, session(t, other), "q", 9, func(d *conn.Delivery) { got = append(got, fmt.Sprint(string(d.Body), d.Headers["h"])) })
		p := publisher(t, session(t, a))
		a.Fail(conntest.LatePublish(1, time.Second))
		m := &conn.Message{Key: "q", Body: []byte("a"), Headers: map[string]any{"h": "b"}}
		p.Publish(m, nil)
		m.Body[0], m.Headers["h"] = 'x', "x"
		time.Sleep(time.Second)
		synctest.Wait()
		if fmt.Sprint(got) != "[ab]" {
			t.Errorf("got %v, want [ab]", got)
		}
	})
}

// What is late comes at its time, in order, and not at all if its session ends before.
func TestLateFaults(t *testing.T) {
	const d = time.Second
	for _, c := range []struct {
		name   string
		fault  conntest.Fault
		lose   bool   // the session, half of d after the second message
		arrive string // when messages do, in seconds since they were published
		told   string // when they are confirmed
	}{
		{"publish late", conntest.LatePublish(2, d), false, "1:0 2:1 3:1 ", "1:0 2:1 3:1 "},
		{"publish late, session lost", conntest.LatePublish(2, d), true, "1:0 ", "1:0 "},
		{"publish slow", conntest.SlowPublish(2, d), false, "1:0 2:0 3:1 ", "1:0 2:0 3:1 "},
		{"confirmation late", conntest.LateConfirm(2, d), false, "1:0 2:0 3:0 ", "1:0 2:1 3:1 "},
		{"confirmation late, session lost", conntest.LateConfirm(2, d), true, "1:0 2:0 3:0 ", "1:0 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *conntest.Broker) {
				a, other := b.Connector("a"), b.Connector("other")
				declare(t, other, conn.Queue{Name: "q"})
				start := time.Now()
				var arrived, told strings.Builder
				consume(t, session(t, other), "q", 9, func(d *conn.Delivery) {
					fmt.Fprintf(&arrived, "%s:%v ", d.Body, time.Since(start).Seconds())
				})
				p := publisher(t, session(t, a))
				a.Fail(c.fault)
				if c.lose {
					time.AfterFunc(d/2, a.Lose)
				}
				for i := 1; i <= 3; i++ {
					p.Publish(&conn.Message{Key: "q", Body: fmt.Append(nil, i)}, func(bool) {
						fmt.Fprintf(&told, "%d:%v ", i, time.Since(start).Seconds())
					})
					synctest.Wait()
				}
				time.Sleep(2 * d)
				synctest.Wait()
				if arrived.String() != c.arrive || told.String() != c.told {
					t.Errorf("arrived %q, confirmed %q, want %q, %q", &arrived, &told, c.arrive, c.told)
				}
			})
		})
	}
}

func TestLateDeliveries(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault conntest.Fault
		want  []string
	}{
		{"delivery late", conntest.LateDelivery(2, time.Second), []string{"1 at 0", "2 at 1", "3 at 1"}},
		{"delivery duplicated late", conntest.LateDuplicate(2, time.Second), []string{"1 at 0", "2 at 0", "3 at 0", "2 at 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *conntest.Broker) {
				a, other := b.Connector("a"), b.Connector("other")
				declare(t, a, conn.Queue{Name: "q"})
				a.Fail(c.fault)
				start := time.Now()
				var got []string
				consume(t, session(t, a), "q", 9, func(d *conn.Delivery) {
					got = append(got, fmt.Sprintf("%s at %v", d.Body, time.Since(start).Seconds()))
					if err := d.Ack(); err != nil {
						t.Error(err)
					}
				})
				send(t, other, "q", "1", "2", "3")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if !slices.Equal(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestDisarm(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a := b.Connector("a")
		struck := a.Fail(conntest.LoseBeforePublish(1))
		a.Disarm()
		send(t, a, "x", "1")
		if has(struck) || session(t, a).Err() != nil {
			t.Error("a fault that was taken back has struck")
		}
	})
}

// A process that is frozen does nothing, and what is done to its connection it learns when it wakes.
func TestFreeze(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a, other := b.Connector("a"), b.Connector("other")
		declare(t, a, conn.Queue{Name: "q"})
		var got []string
		var first *conn.Delivery
		s := session(t, a)
		consume(t, s, "q", 9, func(d *conn.Delivery) { got, first = append(got, string(d.Body)), d })
		p := publisher(t, s)
		send(t, other, "q", "1")
		synctest.Wait()
		a.Freeze()
		a.Freeze() // once more is the same
		send(t, other, "q", "2")
		done := make(chan string, 3)
		go func() { done <- fmt.Sprint("ack ", errors.Is(first.Ack(), conn.ErrClosed)) }()
		go func() {
			done <- fmt.Sprint("publish ", errors.Is(p.Publish(&conn.Message{Key: "q"}, nil), conn.ErrClosed))
		}()
		go func() {
			again, err := a.Session(context.Background())
			done <- fmt.Sprint("session ", err == nil && again != s)
		}()
		time.Sleep(time.Minute)
		if len(done) > 0 || len(got) != 1 {
			t.Fatalf("frozen, it has received %q and done %d things", got, len(done))
		}
		a.Lose()
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("frozen, it noticed the end of its session")
		}
		a.Thaw()
		a.Thaw()
		did := []string{<-done, <-done, <-done}
		slices.Sort(did)
		if want := []string{"ack true", "publish true", "session true"}; !slices.Equal(did, want) {
			t.Errorf("awake, it did %q, want %q", did, want)
		}
	})
}
