package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// What instances are asked, beside [Ping]. Servers answer it themselves, without deduplication.
const (
	Info  = "rpc.info"
	Stats = "rpc.stats"
)

// Describe is the method by which a caller asks a server, with the name of a method, what that takes and returns.
const Describe = "rpc.describe"

const discoveryPrefix = "discover"

// AllKey is the routing key of questions to the instances of all services. Like those of requests it names no queue.
const AllKey = discoveryPrefix

// DiscoveryKey is the routing key of questions to the instances of a service, [AllKey] for "".
func DiscoveryKey(service string) string {
	if service == "" {
		return AllKey
	}
	return discoveryPrefix + "." + service
}

// InstanceQueue is the name of the queue in which an instance of a service takes questions. Inside of the service's own
// names, so that a server needs no right beyond them; and no reply-to that anybody answers.
func InstanceQueue(service, id string) string { return prefix + service + ".instance." + id }

// questionLimits are far above what a question needs.
var questionLimits = Limits{Body: 1 << 10, Ratio: 1, JSONDepth: 8, Headers: 32, HeaderBytes: 4 << 10, Timeout: time.Minute}

// MaxAnswer bounds the body of an answer: a peer that is asked should not be able to fill the memory of who asks.
const MaxAnswer = 64 << 10

// EncodeQuestion makes the message that asks the instances of a service, "" for all services. It is gone by the time
// that nobody waits for an answer any more.
func EncodeQuestion(method, service, id, replyTo string, timeout time.Duration) *conn.Message {
	ms := min(max(1, timeout.Milliseconds()), questionLimits.Timeout.Milliseconds())
	return &conn.Message{
		Exchange:      DiscoveryExchange,
		Key:           DiscoveryKey(service),
		Mandatory:     true,
		CorrelationID: id,
		ReplyTo:       replyTo,
		Type:          method,
		Expiration:    strconv.FormatInt(ms, 10),
		Headers:       map[string]any{headerVersion: int64(Version), headerTimeout: ms},
	}
}

// DecodeQuestion reads what an instance of a service is asked. An error is for the log at most: all instances get the same
// question, and would give the same complaint.
func DecodeQuestion(m *conn.Message, service string) (*Call, error) {
	c, err := DecodeRequest(m, Source{Service: service, Timeout: time.Second, Limits: questionLimits})
	if err != nil {
		return nil, err
	}
	switch c.Method {
	case Ping, Info, Stats:
		return c, nil
	}
	return nil, fmt.Errorf("%q is nothing that instances are asked", c.Method)
}

// EncodeAnswer makes the message that answers c.
func EncodeAnswer(c *Call, i *rpc.Instance) (*conn.Message, error) {
	body, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	if len(body) > MaxAnswer {
		return nil, fmt.Errorf("answer has %d bytes, at most %d are allowed", len(body), MaxAnswer)
	}
	return EncodeReply(c, &rpc.Reply{ContentType: rpc.ContentTypeJSON, Body: body, Server: i.Name}), nil
}

// DecodeAnswer reads what an instance says of itself. It may be anybody who says it, so its texts are cut to what an
// instance would say.
func DecodeAnswer(m *conn.Message) (*rpc.Instance, error) {
	if len(m.Body) > MaxAnswer {
		return nil, fmt.Errorf("answer has %d bytes, at most %d are allowed", len(m.Body), MaxAnswer)
	}
	if _, failed := m.Headers[headerCode]; failed {
		return nil, fmt.Errorf("answer is an error")
	}
	var i rpc.Instance
	if err := json.Unmarshal(m.Body, &i); err != nil {
		return nil, fmt.Errorf("answer is not JSON of an instance")
	}
	if err := CheckService(i.Service); err != nil {
		return nil, err
	}
	if i.ID == "" || len(i.ID) > maxName {
		return nil, fmt.Errorf("instance ID must have 1 to %d bytes, got %d", maxName, len(i.ID))
	}
	i.UptimeMS = min(max(0, i.UptimeMS), int64(100*365*24*time.Hour/time.Millisecond))
	for _, s := range []*string{&i.Name, &i.Version, &i.Library, &i.State} {
		*s = cut(strings.ToValidUTF8(*s, "�"), maxClient)
	}
	return &i, nil
}
