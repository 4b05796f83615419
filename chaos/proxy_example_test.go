package chaos_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

func ExampleProxy_Inject() {
	p, err := chaos.NewProxy("amqp://guest:guest@localhost:5672")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	u, _ := url.Parse(p.URL())

	down := p.Inject(chaos.Refuse{})
	_, err = net.Dial("tcp", u.Host)
	fmt.Println("refused:", err != nil)
	fmt.Println(down)

	down.Heal()
	c, err := net.Dial("tcp", u.Host)
	fmt.Println("refused:", err != nil)
	c.Close()
	// Output:
	// refused: true
	// refuse connections; bites: 1
	// refused: false
}

// A schedule of faults can be kept in a file, and replayed.
func ExampleAnyFault() {
	const schedule = `[
		{"latency": {"delay": "500ms", "jitter": "400ms"}},
		{"drop": {"method": "basic.ack", "dir": "to client", "nth": 3}},
		{"cut": {"method": "basic.publish", "bytes": 17, "nth": 1}}
	]`
	var faults []chaos.AnyFault
	if err := json.Unmarshal([]byte(schedule), &faults); err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range faults {
		fmt.Println(f)
	}
	// Output:
	// latency 500ms±400ms, both ways
	// drop basic.ack 3, to client
	// cut after 17 bytes of basic.publish 1, both ways
}
