package interop_test

import (
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// TestManyDirectCallers: each channel has a direct reply-to address of its own, and a server that was restarted knows none of them.
// All are answered, though each address has to be tried first.
func TestManyDirectCallers(t *testing.T) {
	const queue, connections, channels = "interop_direct", 10, 50
	s := serve(t, queue)
	var ready, callers sync.WaitGroup
	begin := make(chan struct{})
	for range connections {
		c, err := amqp.Dial(testbroker.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range channels {
			ready.Add(1)
			callers.Go(func() {
				ch, replies := listen(t, c)
				ready.Done()
				if replies == nil {
					return
				}
				<-begin
				m := amqp.Publishing{ReplyTo: directReplyTo, Body: []byte("30")}
				if err := ch.PublishWithContext(t.Context(), "", queue, false, false, m); err != nil {
					t.Error(err)
				}
				select {
				case d := <-replies:
					if string(d.Body) != "832040" {
						t.Errorf("got %q, want 832040", d.Body)
					}
				case <-time.After(patience / 4):
					t.Error("no reply")
				}
			})
		}
	}
	ready.Wait()
	close(begin)
	callers.Wait()
	if got := s.Stats().Answered; got != connections*channels {
		t.Errorf("%d were answered, want %d", got, connections*channels)
	}
}

const directReplyTo = "amq.rabbitmq.reply-to"

func listen(t *testing.T, c *amqp.Connection) (*amqp.Channel, <-chan amqp.Delivery) {
	ch, err := c.Channel()
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	replies, err := ch.Consume(directReplyTo, "", true, false, false, false, nil)
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	return ch, replies
}
