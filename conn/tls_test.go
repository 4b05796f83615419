package conn_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testcert"
)

func authority(t *testing.T, name string) *testcert.Authority {
	t.Helper()
	a, err := testcert.NewAuthority(t.TempDir(), name)
	must(t, err)
	return a
}

// files issues a certificate, and returns the part of a URL that names it and its authority.
func files(t *testing.T, a *testcert.Authority, r testcert.Request) string {
	t.Helper()
	cert, key, err := a.Issue(r)
	must(t, err)
	return url.Values{"cacertfile": {a.File}, "certfile": {cert}, "keyfile": {key}}.Encode()
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// why returns why a URL cannot be dialled. The reason must not have the password in it.
func why(t *testing.T, url string, opts ...conn.Option) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m := open(t, url, append(opts, conn.WithBackgroundDial())...)
	for s := range m.Watch(ctx) {
		if s.Phase == conn.Connected {
			t.Fatal("connected")
		}
		if s.Err != nil {
			t.Log(s.Err)
			if strings.Contains(s.Err.Error(), "topsecret") {
				t.Errorf("the password is in %v", s.Err)
			}
			return s.Err
		}
	}
	t.Fatal("no reason in 30s")
	return nil
}

// A broker that wants client certificates, reached in each way that there is, and in many that there are not.
func TestTLS(t *testing.T) {
	a, stranger := authority(t, "authority"), authority(t, "stranger")
	cert, key, err := a.Issue(testcert.Request{Name: "broker"})
	must(t, err)
	n := testbroker.OwnNode(t, chaos.WithTLS(a.File, cert, key), chaos.WithPlugins("rabbitmq_auth_mechanism_ssl"), chaos.WithConfig(
		"auth_mechanisms.1 = PLAIN", "auth_mechanisms.2 = EXTERNAL", "ssl_cert_login_from = common_name"))
	must(t, n.ChangePassword(t.Context(), "guest", "topsecret"))
	login := "guest:topsecret@"
	good := files(t, a, testcert.Request{Name: "guest"})

	t.Run("reached", func(t *testing.T) { reachTLS(t, n.TLSAddr(), login, good, a) })
	onlyCA := url.Values{"cacertfile": {a.File}}.Encode()
	_, port, err := net.SplitHostPort(n.TLSAddr())
	must(t, err)
	for _, tt := range []struct{ name, url, want string }{
		{"authority of the system", "amqps://" + login + n.TLSAddr(), "name its file with cacertfile"},
		{"wrong authority", "amqps://" + login + n.TLSAddr() + "?" + files(t, stranger, testcert.Request{Name: "x"}), "name its file with cacertfile"},
		{"wrong host", "amqps://" + login + "127.0.0.1:" + port + "?" + good, "not for 127.0.0.1"},
		{"no client certificate", "amqps://" + login + n.TLSAddr() + "?" + onlyCA, "name one with certfile and keyfile"},
		{"client of a stranger", "amqps://" + login + n.TLSAddr() + "?" + mixed(t, a, stranger), "certificate"},
		{"expired client", "amqps://" + login + n.TLSAddr() + "?" + files(t, a, testcert.Request{Name: "old", NotBefore: time.Now().Add(-30 * time.Hour)}), "renew (it|the client's certificate)"},
		{"TLS to the plain port", strings.Replace(n.URLFor("guest", "topsecret", "/"), "amqp:", "amqps:", 1), "the broker does not speak it on this port"},
		{"plain to the TLS port", "amqp://" + login + n.TLSAddr(), "the broker speaks it on this port"},
		{"authority is no file", "amqps://" + login + n.TLSAddr() + "?cacertfile=/nowhere.pem", "/nowhere.pem: no such file"},
		{"authority is no PEM", "amqps://" + login + n.TLSAddr() + "?cacertfile=tls.go", "has no certificate in PEM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := why(t, tt.url); !errors.Is(err, conn.ErrTLS) || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
				t.Errorf("got %v, want ErrTLS and %q", err, tt.want)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel() // the broker takes three seconds to refuse
		if err := why(t, "amqps://guest:nottopsecret@"+n.TLSAddr()+"?"+good); !errors.Is(err, conn.ErrRefused) || errors.Is(err, conn.ErrTLS) {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("user without a password", func(t *testing.T) { // the certificate names a user that the broker does not know
		t.Parallel()
		unknown := files(t, a, testcert.Request{Name: "nobody"})
		if err := why(t, "amqps://"+n.TLSAddr()+"?auth_mechanism=external&"+unknown); !errors.Is(err, conn.ErrRefused) {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("rotated", func(t *testing.T) { rotate(t, n.TLSAddr(), login, a, stranger) })
}

func reachTLS(t *testing.T, addr, login, good string, a *testcert.Authority) {
	cert, key, err := a.Issue(testcert.Request{Name: "configured"})
	must(t, err)
	pair, err := tls.LoadX509KeyPair(cert, key)
	must(t, err)
	config := &tls.Config{RootCAs: pool(t, a), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	_, port, _ := net.SplitHostPort(addr)
	for name, reach := range map[string]func(t *testing.T) *conn.Manager{
		"files in the URL": func(t *testing.T) *conn.Manager { return open(t, "amqps://"+login+addr+"/?"+good) },
		"configuration":    func(t *testing.T) *conn.Manager { return open(t, "amqps://"+login+addr, conn.WithTLS(config)) },
		"configuration of each dial": func(t *testing.T) *conn.Manager { // the first fails
			var dials atomic.Int64
			return open(t, "amqps://"+login+addr, conn.WithTLSFrom(func() (*tls.Config, error) {
				if dials.Add(1) <= 2 { // a session has two connections
					return nil, errors.New("half a file")
				}
				return config, nil
			}))
		},
		"certificate for a password": func(t *testing.T) *conn.Manager {
			return open(t, "amqps://"+addr+"/?auth_mechanism=external&"+good)
		},
		"name for the host": func(t *testing.T) *conn.Manager {
			return open(t, "amqps://"+login+"127.0.0.1:"+port+"/?server_name_indication=localhost&"+good)
		},
		"second host of a list": func(t *testing.T) *conn.Manager { // the library writes the name of the first into the configuration
			return open(t, fmt.Sprintf("amqps://%s127.0.0.1:%d,amqps://%s%s", login, freePort(t), login, addr), conn.WithTLS(config))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := session(t, reach(t))
			if _, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true}); err != nil {
				t.Error(err)
			}
		})
	}
	if config.ServerName != "" {
		t.Errorf("the configuration that was given has the server name %q now", config.ServerName)
	}
}

func pool(t *testing.T, a *testcert.Authority) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(a.File)
	must(t, err)
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

// mixed names the certificate of a stranger, and the authority of the broker.
func mixed(t *testing.T, a, stranger *testcert.Authority) string {
	t.Helper()
	cert, key, err := stranger.Issue(testcert.Request{Name: "guest"})
	must(t, err)
	return url.Values{"cacertfile": {a.File}, "certfile": {cert}, "keyfile": {key}}.Encode()
}

// rotate replaces an expired certificate while a manager dials: the next dial takes the new one.
func rotate(t *testing.T, addr, login string, a, stranger *testcert.Authority) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "me.pem"), filepath.Join(dir, "me.key")
	put := func(a *testcert.Authority) {
		c, k, err := a.Issue(testcert.Request{Name: "rotated"})
		must(t, err)
		must(t, os.Rename(k, key))
		must(t, os.Rename(c, cert))
	}
	put(stranger)
	m := open(t, "amqps://"+login+addr+"?"+url.Values{"cacertfile": {a.File}, "certfile": {cert}, "keyfile": {key}}.Encode(),
		conn.WithBackgroundDial())
	for s := range m.Watch(t.Context()) {
		if s.Err != nil {
			break
		}
	}
	put(a)
	session(t, m)
}

// Brokers that are not as they should be.
func TestTLSOfAStranger(t *testing.T) {
	a := authority(t, "authority")
	for _, tt := range []struct {
		name    string
		request testcert.Request
		version uint16
		want    string
	}{
		{"expired", testcert.Request{Name: "old", NotBefore: time.Now().Add(-30 * time.Hour)}, 0, "has expired"},
		{"not valid yet", testcert.Request{Name: "new", NotBefore: time.Now().Add(time.Hour)}, 0, "check the clock of this host"},
		{"another host", testcert.Request{Name: "other", Hosts: []string{"broker.example"}}, 0, "broker.example"},
		{"TLS 1.1 at most", testcert.Request{Name: "ancient"}, tls.VersionTLS11, "protocol version not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key, err := a.Issue(tt.request)
			must(t, err)
			pair, err := tls.LoadX509KeyPair(cert, key)
			must(t, err)
			config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tt.version}
			url := "amqps://guest:topsecret@" + listenTLS(t, config)
			careless := conn.WithTLS(&tls.Config{RootCAs: pool(t, a), MinVersion: tls.VersionTLS10}) // which is too little
			if err := why(t, url, careless); !errors.Is(err, conn.ErrTLS) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrTLS and %q", err, tt.want)
			}
		})
	}
}

// listenTLS makes a TLS server that says nothing, and returns its address.
func listenTLS(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	must(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
}

// A lateWriter learns of its own success only after the other side has answered, and the library has hung up on that.
type lateWriter struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *lateWriter) Write(b []byte) (int, error) {
	<-c.closed
	return len(b), nil
}

func (c *lateWriter) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestAnswerOvertakesTheGreeting(t *testing.T) {
	for answer, want := range map[string]string{
		"\x15\x03\x03\x00\x02\x02\x46": "TLS: the broker speaks it on this port",
		"SSH-2.0-":                     "is this the AMQP port of a broker?",
	} {
		err := why(t, "amqp://localhost", conn.WithDialer(func(context.Context, string, string) (net.Conn, error) {
			own, peer := net.Pipe()
			go peer.Write([]byte(answer))
			return &lateWriter{Conn: own, closed: make(chan struct{})}, nil
		}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", answer, err, want)
		}
	}
}

// A broker that is frozen takes connections, since the system does that in its place, and answers nothing.
func TestNoAnswerToTheHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	url := "amqp://" + l.Addr().String()
	want := "handshake: no answer within "
	if err := why(t, url+"?connection_timeout=200"); !strings.Contains(err.Error(), want) {
		t.Errorf("session: got %v, want %q", err, want)
	}
	targets, err := conn.Targets(url)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := targets[0].Probe(ctx); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("probe: got %v, want %q", err, want)
	}
}
