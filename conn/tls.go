package conn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// secure makes a TLS connection of c if the URL asks for one. The library would do that above its Dial, where the data plane
// could not read.
func secure(ctx context.Context, c net.Conn, uri amqp.URI, o *options) (net.Conn, error) {
	if uri.Scheme != "amqps" {
		return c, nil
	}
	config := o.tls.Clone() // the server name is written into it; nil stays nil
	if config == nil {
		var err error
		if config, err = tlsOf(uri); err != nil {
			return nil, fmt.Errorf("TLS of the URL: %w", err)
		}
	}
	if config.ServerName == "" {
		config.ServerName = uri.Host
	}
	client := tls.Client(c, config)
	if err := client.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return client, nil
}

// tlsOf reads the files that a URL names.
func tlsOf(uri amqp.URI) (*tls.Config, error) {
	config := &tls.Config{ServerName: uri.ServerName, MinVersion: tls.VersionTLS12} // and the system's roots
	if uri.CACertFile != "" {
		pem, err := os.ReadFile(uri.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("read CA certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	if uri.CertFile != "" && uri.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// withoutTLS is the URL for a library that finds a connection with TLS made already. Its port may be another's: nobody reads it.
func withoutTLS(url string) string {
	if rest, ok := strings.CutPrefix(url, "amqps://"); ok {
		return "amqp://" + rest
	}
	return url
}
