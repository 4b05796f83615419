package conn

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ErrTLS: the broker cannot be trusted, does not trust this client, or one side speaks TLS and the other does not. The text of
// the error says what to do.
var ErrTLS = errors.New("TLS")

// tlsConfig returns the configuration for one dial: the one of [WithTLS], else of the files that the URL names, as they are now.
func tlsConfig(u *amqp.URI, given *tls.Config) (*tls.Config, error) {
	c := new(tls.Config)
	switch {
	case given != nil:
		c = given.Clone() // the library writes into it
	case u.CACertFile != "":
		pem, err := os.ReadFile(u.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("%w: read cacertfile: %w", ErrTLS, err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: cacertfile %s has no certificate in PEM", ErrTLS, u.CACertFile)
		}
	}
	if given == nil && u.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(u.CertFile, u.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%w: read certfile and keyfile: %w", ErrTLS, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	c.ServerName = cmp.Or(c.ServerName, u.ServerName, u.Host)
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c, nil
}

// tlsError says what to do about an error of a TLS handshake, or returns nil for any other error.
func tlsError(err error, host string) error {
	var untrusted *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: %s: %w", ErrTLS, distrust(untrusted, host), err)
	case errors.As(err, &header):
		return fmt.Errorf("%w: the broker does not speak it on this port: use amqp://, or the port for amqps://, usually 5671", ErrTLS)
	case errors.As(err, &op) && op.Op == "remote error":
		return alertError(op.Error())
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
		return errHungUp
	case strings.Contains(err.Error(), "tls: "):
		return fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return nil
}

// distrust says why the broker's certificate is not trusted, and what to do about it.
func distrust(err *tls.CertificateVerificationError, host string) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "the broker's certificate is of an authority that is not trusted here: name its file with cacertfile in the URL"
	case errors.As(err, &name):
		return fmt.Sprintf("the broker's certificate is not for %s: reach it by a name that is in the certificate, or say that name "+
			"with server_name_indication in the URL", host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return "the broker's certificate is not valid yet: check the clock of this host, and the certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the broker's certificate has expired: renew it, or check the clock of this host"
	}
	return "the broker's certificate is not good"
}

// errHungUp is for a broker that hangs up without a word, or whose word was lost.
var errHungUp = fmt.Errorf("%w: the broker hung up, as it does on a client without a certificate that it trusts: name one with "+
	"certfile and keyfile in the URL, or renew it", ErrTLS)

const alertPrefix = "remote error: tls: "

// alertError says what to do about what the broker has said of this side's TLS. With TLS 1.3 it says so after the handshake.
func alertError(text string) error {
	_, alert, _ := strings.Cut(text, alertPrefix)
	advice := "see the broker's log"
	switch {
	case strings.Contains(alert, "certificate required"), strings.Contains(alert, "handshake failure"):
		advice = "it wants a certificate of an authority that it trusts: name one with certfile and keyfile in the URL"
	case strings.Contains(alert, "certificate"):
		advice = "renew the client's certificate, or have the broker trust its authority"
	case strings.Contains(alert, "protocol version"):
		advice = "TLS 1.2 is the least that is spoken here: the broker has to allow it"
	}
	return fmt.Errorf("%w: the broker refuses this client: %s: %s", ErrTLS, alert, advice)
}

// tlsAlert is how a record begins with which a TLS server answers what is no TLS.
const tlsAlert = 0x15
