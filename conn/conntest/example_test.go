package conntest_test

import (
	"context"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
)

// Whoever consumes must expect a message twice: an acknowledgement can get lost.
func Example() {
	ctx := context.Background()
	broker := conntest.NewBroker()
	defer broker.Close()
	boss, worker := broker.Connector("boss"), broker.Connector("worker")
	lost := worker.Fail(conntest.LoseAck(1))

	s, _ := boss.Session(ctx)
	s.DeclareQueue(ctx, conn.Queue{Name: "jobs"})
	p, _ := s.OpenPublisher(ctx, nil)
	p.Publish(&conn.Message{Key: "jobs", Body: []byte("paint the fence")}, nil)

	done := make(chan bool)
	for range 2 {
		s, _ := worker.Session(ctx) // the second time it is a new one
		s.Consume(ctx, conn.Consume{Queue: "jobs", Prefetch: 1}, func(d *conn.Delivery) {
			fmt.Printf("%s (again: %v)\n", d.Body, d.Redelivered)
			d.Ack()
			done <- true
		})
		<-done
	}
	<-lost
	fmt.Println(broker.Queue("jobs"))
	// Output:
	// paint the fence (again: false)
	// paint the fence (again: true)
	// {jobs 0 0 1} true
}
