package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const maxSecret = 64 << 10

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
	text, err := readSome(path)
	if err != nil {
		return "", &KeyError{Key: key, Problem: "cannot be read: " + err.Error()}
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if line == "" || len(line) > maxSecret || strings.ContainsAny(line, "\r\n") {
		return "", &KeyError{Key: key, Problem: path + " must have one line, which is the secret"}
	}
	return line, nil
}

// readSome reads a file, which may be a pipe, as far as it could be a secret.
func readSome(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSecret+3)) // with the end of the line, and one byte too many
}

// Config reads the files that are named; it is nil if none is.
func (t *TLS) Config() (*tls.Config, error) {
	if *t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, &KeyError{Key: "ca_file", Problem: "cannot be read: " + err.Error()}
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
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			return nil, &KeyError{Key: "cert_file", Problem: "and key_file: cannot be read: " + pathErr.Error()}
		} else if err != nil {
			return nil, &KeyError{Key: "cert_file", Problem: fmt.Sprintf("and key_file do not go together: %v", err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
