package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	maxSecret = 64 << 10
	maxPEM    = 1 << 20 // all authorities of a system have a quarter of it
)

// Credentials reads user and password from the files that are named; both are empty if none is.
func (b *Broker) Credentials() (user, password string, err error) {
	if b.CredentialsFile != "" {
		line, err := Secret("credentials_file", b.CredentialsFile)
		if err != nil {
			return "", "", err
		}
		user, password, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return "", "", &KeyError{Key: "credentials_file", Problem: b.CredentialsFile + " must have one line, user:password"}
		}
		return user, password, nil
	}
	if b.PasswordFile != "" {
		password, err = Secret("password_file", b.PasswordFile)
	}
	return b.Username, password, err
}

// Secret reads the one line of a file, which is at most 64 KiB. The error is a [*KeyError] for key.
func Secret(key, path string) (string, error) {
	text, err := readSome(path, maxSecret+3) // with the end of the line, and one byte too many
	if err != nil {
		return "", &KeyError{Key: key, Problem: "cannot be read: " + err.Error()}
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if line == "" || len(line) > maxSecret || strings.ContainsAny(line, "\r\n") {
		return "", &KeyError{Key: key, Problem: path + " must have one line, which is the secret"}
	}
	return line, nil
}

// readSome reads a file, which may be a pipe, up to a limit.
func readSome(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// readPEM reads a file of certificates or a key. The error is a [*KeyError] for key.
func readPEM(key, path string) ([]byte, error) {
	text, err := readSome(path, maxPEM+1)
	if err != nil {
		return nil, &KeyError{Key: key, Problem: "cannot be read: " + err.Error()}
	}
	if len(text) > maxPEM {
		return nil, &KeyError{Key: key, Problem: fmt.Sprintf("%s has more than %d bytes", path, maxPEM)}
	}
	return text, nil
}

// Config reads the files that are named; it is nil if none is.
func (t *TLS) Config() (*tls.Config, error) {
	if *t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := readPEM("ca_file", t.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &KeyError{Key: "ca_file", Problem: t.CAFile + " has no certificate in PEM"}
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, &KeyError{Key: "cert_file", Problem: "goes with key_file: want both, or neither"}
	}
	if t.CertFile != "" {
		cert, err := readPEM("cert_file", t.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := readPEM("key_file", t.KeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, &KeyError{Key: "cert_file", Problem: fmt.Sprintf("and key_file do not go together: %v", err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
