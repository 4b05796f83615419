package conn

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ErrTLS is what every [TLSError] is.
var ErrTLS = errors.New("TLS")

// A TLSError: the broker cannot be trusted, does not trust this client, or one side speaks TLS and the other does not.
type TLSError struct {
	Problem string
	Cure    string // what to do about it; may be ""
	Err     error  // may be nil
}

// Error returns all of it.
func (e *TLSError) Error() string {
	text := "TLS: " + e.Problem
	if e.Cure != "" {
		text += "; " + e.Cure
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the error of the library.
func (e *TLSError) Unwrap() error { return e.Err }

// Is matches [ErrTLS].
func (e *TLSError) Is(target error) bool { return target == ErrTLS }

// tlsConfig returns the configuration for one dial: the one of [WithTLS], else of the files that the URL names, as they are now.
func tlsConfig(u *amqp.URI, given *tls.Config) (*tls.Config, error) {
	c := new(tls.Config)
	switch {
	case given != nil:
		c = given.Clone() // the library writes into it
	case u.CACertFile != "":
		pem, err := os.ReadFile(u.CACertFile)
		if err != nil {
			return nil, &TLSError{"the file of authorities cannot be read", "check cacertfile in the URL", err}
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &TLSError{u.CACertFile + " has no certificate in PEM", "check cacertfile in the URL", nil}
		}
	}
	if given == nil && u.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(u.CertFile, u.KeyFile)
		if err != nil {
			return nil, &TLSError{"the certificate of this client cannot be read", "check certfile and keyfile in the URL", err}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	c.ServerName = cmp.Or(c.ServerName, u.ServerName, u.Host)
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c, nil
}

// tlsError says what to do about an error of a TLS handshake. Any other error it returns as it is.
func tlsError(err error, host string) error {
	var untrusted *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &untrusted):
		return distrust(untrusted, host)
	case errors.As(err, &header):
		return &TLSError{"the broker does not speak it on this port", "use amqp://, or the port for amqps://, usually 5671", nil}
	case errors.As(err, &op) && op.Op == "remote error":
		return alertError(op.Error())
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return errHungUp
	case strings.Contains(err.Error(), "tls: "):
		return &TLSError{"the handshake does not succeed", "", err}
	}
	return err
}

// distrust says why the broker's certificate is not trusted, and what to do about it.
func distrust(err *tls.CertificateVerificationError, host string) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return &TLSError{"the broker's certificate is of an authority that is not trusted here", "name its file with cacertfile in the URL", err}
	case errors.As(err, &name):
		return &TLSError{"the broker's certificate is not for " + host,
			"reach it by a name that is in the certificate, or say that name with server_name_indication in the URL", err}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return &TLSError{"the broker's certificate is not valid yet", "check the clock of this host, and the certificate", err}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &TLSError{"the broker's certificate has expired", "renew it, or check the clock of this host", err}
	}
	return &TLSError{"the broker's certificate is not good", "renew it", err}
}

// errHungUp is for a broker that hangs up without a word, or whose word was lost.
var errHungUp = &TLSError{"the broker hung up, as it does on a client without a certificate that it trusts",
	"name one with certfile and keyfile in the URL, or renew it", nil}

const alertPrefix = "remote error: tls: "

// alertError says what to do about what the broker has said of this side's TLS. With TLS 1.3 it says so after the handshake.
func alertError(text string) error {
	_, alert, _ := strings.Cut(text, alertPrefix)
	cure := "see the broker's log"
	switch {
	case strings.Contains(alert, "certificate required"), strings.Contains(alert, "handshake failure"):
		cure = "it wants a certificate of an authority that it trusts: name one with certfile and keyfile in the URL"
	case strings.Contains(alert, "certificate"):
		cure = "renew the client's certificate, or have the broker trust its authority"
	case strings.Contains(alert, "protocol version"):
		cure = "TLS 1.2 is the least that is spoken here: the broker has to allow it"
	}
	return &TLSError{"the broker refuses this client: " + alert, cure, nil}
}

// tlsAlert is how a record begins with which a TLS server answers what is no TLS.
const tlsAlert = 0x15

// secure makes a TLS connection of c. The library would do that above its Dial, where the data plane could not read.
func secure(ctx context.Context, c net.Conn, config *tls.Config) (*tls.Conn, error) {
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return secured, nil
}

// withoutTLS is the URL for a library that finds a connection with TLS made already. Its port may be another's: nobody reads it.
func withoutTLS(url string) string {
	if rest, ok := strings.CutPrefix(url, "amqps://"); ok {
		return "amqp://" + rest
	}
	return url
}
