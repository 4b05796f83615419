package conntest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

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
