package chaos_test

import (
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// Close ends a connection as well that is on its way in meanwhile.
func TestProxyCloseWhileDialled(t *testing.T) {
	broker, err := net.Listen("tcp", "127.0.0.1:0") // its backlog takes connections: nobody needs to accept
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	for i := range 200 {
		p, err := chaos.NewProxy("amqp://" + broker.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(p.URL())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c, err := net.Dial("tcp", u.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		time.Sleep(time.Duration(i%20) * 10 * time.Microsecond) // to meet each moment of it
		closed := make(chan struct{})
		go func() { defer close(closed); p.Close() }()
		select {
		case <-closed:
		case <-time.After(5 * time.Second):
			t.Fatal("Close does not return")
		}
	}
}
