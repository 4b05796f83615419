package endtoend

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// rogues are messages that nobody means well with. answer is a queue that may be answered, plain the server's plain queue.
func rogues(service, answer, plain string, n int) []conn.Message {
	headers := func(extra ...any) map[string]any {
		h := map[string]any{"rpc-version": int64(1), "rpc-timeout-ms": int64(1000)}
		for i := 0; i < len(extra); i += 2 {
			h[extra[i].(string)] = extra[i+1]
		}
		return h
	}
	bomb := make(map[string]any)
	for i := range 2000 {
		bomb[fmt.Sprint("x", i)] = "y"
	}
	id := fmt.Sprint("rogue-", n)
	request := func(edit func(*conn.Message)) conn.Message {
		m := conn.Message{
			Exchange: wire.Exchange(service), Key: answer, CorrelationID: id, ReplyTo: answer, AppID: "rogue", Type: "double",
			ContentType: "application/json", Headers: headers(), Body: []byte("1"),
		}
		edit(&m)
		return m
	}
	return []conn.Message{
		request(func(m *conn.Message) { m.ReplyTo = wire.Queue(service) }),
		request(func(m *conn.Message) { m.ReplyTo = wire.Queue(service) + ".parked" }),
		request(func(m *conn.Message) { m.ReplyTo = "" }),
		request(func(m *conn.Message) { m.ReplyTo = plain }),
		request(func(m *conn.Message) { m.ReplyTo = "amq.gen-nobody" }),
		request(func(m *conn.Message) { m.ReplyTo = "\x1b[31m\r\n" }),
		request(func(m *conn.Message) { m.CorrelationID = "" }),
		request(func(m *conn.Message) { m.CorrelationID = "\x1b[31m\r\nfake=line" }),
		request(func(m *conn.Message) { m.CorrelationID = "rogue-0"; m.Body = []byte(fmt.Sprint(n)) }),
		request(func(m *conn.Message) { m.Type = "\x1b[31m\r\nfake=line" }),
		request(func(m *conn.Message) { m.Type = "nothing" }),
		request(func(m *conn.Message) { m.Headers = bomb }),
		request(func(m *conn.Message) { m.Headers = headers("x", strings.Repeat("y", 60_000)) }),
		request(func(m *conn.Message) { m.Headers = headers("rpc-timeout-ms", "soon") }),
		request(func(m *conn.Message) { m.Headers = headers("rpc-version", int64(99)) }),
		request(func(m *conn.Message) { m.Headers = headers("CC", []any{wire.Queue(service)}) }),
		request(func(m *conn.Message) { m.Headers = headers("BCC", []any{plain, wire.Queue(service)}) }),
		request(func(m *conn.Message) { m.Headers = headers("x", []any{[]any{strings.Repeat("y", 30_000)}, nil, true}) }),
		request(func(m *conn.Message) { m.ContentEncoding = "gzip"; m.Body = []byte("\x1f\x8b\x08") }),
		request(func(m *conn.Message) { m.ContentEncoding = "gzip"; m.Body = gzipBomb() }),
		request(func(m *conn.Message) { m.ContentEncoding = "zstd"; m.Body = zstdBomb(0x38) }), // with a window of 128 KiB
		request(func(m *conn.Message) { m.ContentEncoding = "zstd"; m.Body = zstdBomb(0x68) }), // 8 MiB
		request(func(m *conn.Message) { m.ContentEncoding = "zstd"; m.Body = zstdBomb(0xff) }), // 3.75 TiB
		request(func(m *conn.Message) { m.ContentEncoding = "br\x1b[31m" }),
		request(func(m *conn.Message) { m.ContentType = "application/x-java-serialized-object" }),
		request(func(m *conn.Message) { m.Body = bytes.Repeat([]byte("["), 10_000) }),
		request(func(m *conn.Message) { m.Body = []byte("{\"\x00\":") }),
		request(func(m *conn.Message) { m.Body = bytes.Repeat([]byte("7"), 5<<20) }),
		{Key: wire.Queue(service), Body: []byte("straight into the queue")},
		{Key: plain, ReplyTo: "rabbitrpc." + service, CorrelationID: id, Body: []byte("1")},
		{Key: plain, ReplyTo: answer, CorrelationID: id, ContentEncoding: "\x00", Body: []byte("one")},
		{Key: answer, CorrelationID: id, Body: []byte("forged")},
	}
}

// gzipBomb stands for 32 MiB, in 32 KiB.
var gzipBomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(make([]byte, 32<<20))
	w.Close()
	return b.Bytes()
})

// zstdBomb stands for 2 GiB, in 64 KiB.
func zstdBomb(window byte) []byte {
	block := []byte{0x02, 0x00, 0x10, 0x00} // 128 KiB of zeros, and not the last
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, window}, bytes.Repeat(block, 16<<10)...)
}

// Rogue messages, as many as good calls: each good call is answered, and nothing piles up in memory, queues or logs.
func TestHostileFlood(t *testing.T) {
	const callers = 4
	duration := 2 * time.Second
	if os.Getenv("RABBITRPC_LONG") != "" {
		duration = 30 * time.Second
	}
	url := testbroker.URL(t)
	ms, mr := open(t, url), open(t, url)
	method := service(t, ms)
	plain := method.Service + ".plain"
	t.Cleanup(func() { // after the server has ended
		s, err := ms.Session(context.Background())
		must(t, err)
		must(t, s.DeleteQueue(context.Background(), plain))
	})
	var said safeBuffer
	s, _ := serve(t, ms, method, double, server.WithQueue(plain, "double"),
		server.WithLogger(slog.New(slog.NewJSONHandler(&said, nil))))
	c := newClient(t, open(t, url), client.WithTimeout(10*time.Second))

	session, err := mr.Session(t.Context())
	must(t, err)
	answers, err := session.DeclareQueue(t.Context(), conn.Queue{Exclusive: true, Args: map[string]any{"x-max-length": int64(1000)}})
	must(t, err)
	p, err := session.OpenPublisher(t.Context(), nil)
	must(t, err)
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapInuse >> 20
	}
	gzipBomb() // takes a while to make
	before := heap()
	var wg sync.WaitGroup
	var mu sync.Mutex
	calls, sent := 0, 0
	start := time.Now()
	goOn := func() bool { // until there were enough, however slow the machine is
		mu.Lock()
		defer mu.Unlock()
		d := time.Since(start)
		return d < duration || calls < 200 && d < time.Minute
	}
	turn := make(chan struct{}, callers) // one rogue for each good call
	wg.Go(func() {
		defer func() { // after an error, which must not hold up the callers
			for range turn {
			}
		}()
		for n := 0; ; n++ {
			for _, m := range rogues(method.Service, answers.Name, plain, n) {
				if _, ok := <-turn; !ok {
					return
				}
				if err := flood(session, p, &m); err != nil {
					t.Errorf("%+v: %v", m.Headers, err)
					return
				}
				sent++
			}
		}
	})
	var good sync.WaitGroup
	for i := range callers {
		good.Go(func() {
			for n := i; goOn(); n += callers {
				if got, err := client.Call(t.Context(), c, method, n); got != 2*n || err != nil {
					t.Errorf("got %d, %v, want %d", got, err, 2*n)
				}
				mu.Lock()
				calls++
				mu.Unlock()
				turn <- struct{}{}
			}
		})
	}
	good.Wait()
	close(turn)
	wg.Wait()
	wait(t, "the requests to be gone", func() bool {
		return messages(t, ms, wire.Queue(method.Service)) == 0 && messages(t, ms, plain) == 0
	})
	after := heap()
	t.Logf("%d good calls, %d rogues; %d then %d MiB of heap; %+v", calls, sent, before, after, s.Stats())
	if sent < 100 || s.Stats().Rejected == 0 || s.Stats().Dropped == 0 {
		t.Error("too few rogues to show anything")
	}
	if after > before+64 {
		t.Errorf("%d MiB of heap, %d before", after, before)
	}
	if n := s.Stats().Panics; n > 0 {
		t.Errorf("%d panics", n)
	}
	if ms.State().Phase != conn.Connected || session.Err() != nil {
		t.Errorf("a session is gone: %+v, %v", ms.State(), session.Err())
	}
	log := said.String()
	if strings.ContainsAny(log, "\x1b\r\x00") || strings.Contains(log, "guest:guest") {
		t.Error("the log has control characters, or a password")
	}
	if n := strings.Count(log, "\n"); n > 20+10*int(duration/time.Second) {
		t.Errorf("%d lines in the log after %v", n, duration)
	}
}

// A safeBuffer is a buffer for a log.
type safeBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// flood publishes a message as soon as it is taken: a flood is more than that.
func flood(s conn.Session, p conn.Publisher, m *conn.Message) error {
	for {
		err := p.Publish(m, nil)
		if !errors.Is(err, conn.ErrBlocked) {
			return err
		}
		if over := s.Blocked(); over != nil {
			<-over
		}
	}
}
