package conn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
	"github.com/rabbitrpc/rabbitrpc/internal/testcert"
)

// slowLine is a line to a peer that reads nothing until it is told to, in clear or in TLS.
func slowLine(t *testing.T, secured bool) (l *line, sock *socket, peer net.Conn) {
	own, other := net.Pipe()
	t.Cleanup(func() { own.Close(); other.Close() })
	sock = &socket{Conn: own}
	sock.timeout.Store(int64(10 * time.Second))
	if !secured {
		return newLine(sock), sock, other
	}
	ca, err := testcert.NewAuthority(t.TempDir(), "authority")
	if err != nil {
		t.Fatal(err)
	}
	file, key, err := ca.Issue(testcert.Request{Name: "server"})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(file, key)
	if err != nil {
		t.Fatal(err)
	}
	server := tls.Server(other, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	client := tls.Client(sock, &tls.Config{InsecureSkipVerify: true})
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return newLine(client), sock, server
}

// Nobody who publishes waits for a network that takes nothing, and once it does all goes out, whole and in order.
func TestSlowNetwork(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secured), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, _, peer := slowLine(t, secured)
				var want []byte
				begin := make(chan []byte)
				go func() {
					few := make([]byte, 7)
					io.ReadFull(peer, few)
					begin <- few
				}()
				for i := 0; ; i++ {
					body := string(bytes.Repeat([]byte{byte('a' + i)}, maxQueued/3))
					start := time.Now()
					err := send(l, 1, body)
					if took := time.Since(start); took > roomPatience {
						t.Fatalf("message %d took %v, want %v at most", i, took, roomPatience)
					}
					if errors.Is(err, ErrBlocked) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					want = frame.AppendPublish(want, 1, &frame.Publish{Body: []byte(body)}, 0)
				}
				room := l.blocked()
				if room == nil {
					t.Fatal("a message was refused, and nothing says when there is room")
				}
				got := append(<-begin, make([]byte, len(want)-7)...)
				if _, err := io.ReadFull(peer, got[7:]); err != nil || !bytes.Equal(got, want) {
					t.Errorf("what was sent came otherwise: %v", err)
				}
				<-room
				l.wait()
				if err := send(l, 1, ""); err != nil || l.blocked() != nil {
					t.Errorf("with room: got %v, blocked %v", err, l.blocked())
				}
			})
		})
	}
}

// A network that takes nothing for too long fails the line, however patient those are who publish.
func TestDeadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sock, _ := slowLine(t, false)
		start := time.Now()
		var took time.Duration
		l.attach(func(error) { took = time.Since(start) }, 0)
		if err := send(l, 1, "x"); err != nil {
			t.Fatal(err)
		}
		l.wait()
		if want := writePatience + time.Duration(sock.timeout.Load()); took != want {
			t.Errorf("failed after %v, want %v", took, want)
		}
	})
}
