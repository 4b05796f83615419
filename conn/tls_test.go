package conn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// certificates makes a CA and one certificate for both sides, and returns their files.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644))
		return path
	}
	template := func(n int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature,
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	root := template(1, "authority")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	must(t, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, template(2, "guest"), root, &leafKey.PublicKey, caKey)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	must(t, err)
	return write("ca.pem", "CERTIFICATE", caDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "EC PRIVATE KEY", keyDER)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A broker that wants client certificates, reached in each way that there is.
func TestTLS(t *testing.T) {
	ca, cert, key := certificates(t)
	port := freePort(t)
	n, err := chaos.StartNode(t.Context(), chaos.WithPlugins("rabbitmq_auth_mechanism_ssl"), chaos.WithConfig(
		fmt.Sprintf("listeners.ssl.1 = 127.0.0.1:%d", port),
		"ssl_options.cacertfile = "+ca,
		"ssl_options.certfile = "+cert,
		"ssl_options.keyfile = "+key,
		"ssl_options.verify = verify_peer",
		"ssl_options.fail_if_no_peer_cert = true",
		"auth_mechanisms.1 = PLAIN",
		"auth_mechanisms.2 = EXTERNAL",
		"ssl_cert_login_from = common_name",
	))
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })

	host := fmt.Sprintf("localhost:%d", port)
	files := url.Values{"cacertfile": {ca}, "certfile": {cert}, "keyfile": {key}}.Encode()
	pool := x509.NewCertPool()
	pemCA, err := os.ReadFile(ca)
	must(t, err)
	pool.AppendCertsFromPEM(pemCA)
	pair, err := tls.LoadX509KeyPair(cert, key)
	must(t, err)
	config := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}

	for name, reach := range map[string]func(t *testing.T) *conn.Manager{
		"files in the URL": func(t *testing.T) *conn.Manager { return open(t, "amqps://guest:guest@"+host+"/?"+files) },
		"configuration":    func(t *testing.T) *conn.Manager { return open(t, "amqps://guest:guest@"+host, conn.WithTLS(config)) },
		"configuration of each dial": func(t *testing.T) *conn.Manager { // the first fails
			var dials atomic.Int64
			return open(t, "amqps://guest:guest@"+host, conn.WithTLSFrom(func() (*tls.Config, error) {
				if dials.Add(1) <= 2 { // a session has two connections
					return nil, errors.New("half a file")
				}
				return config, nil
			}))
		},
		"certificate for a password": func(t *testing.T) *conn.Manager {
			return open(t, "amqps://"+host+"/?auth_mechanism=external&"+files)
		},
		"second host of a list": func(t *testing.T) *conn.Manager { // the library writes the name of the first into the configuration
			return open(t, fmt.Sprintf("amqps://guest:guest@127.0.0.1:%d,amqps://guest:guest@%s", freePort(t), host), conn.WithTLS(config))
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
	t.Run("unknown authority", func(t *testing.T) {
		m := open(t, "amqps://guest:guest@"+host, conn.WithTLS(&tls.Config{MinVersion: tls.VersionTLS12}), conn.WithBackgroundDial())
		for s := range m.Watch(t.Context()) {
			if s.Phase == conn.Connected {
				t.Fatal("connected")
			}
			if s.Err != nil {
				t.Log(s.Err)
				return
			}
		}
	})
}
