// Package testcert makes certificates for tests, and an authority that signs them.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// An Authority signs certificates. File is its own, in PEM.
type Authority struct {
	File string
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A Request says what a certificate is to be. Its zero value is one for localhost, from an hour ago for a day.
type Request struct {
	Name      string // common name; it names the files, too
	Hosts     []string
	NotBefore time.Time
	NotAfter  time.Time
}

// NewAuthority makes an authority whose files, and those of all that it signs, are in dir.
func NewAuthority(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &Authority{File: filepath.Join(dir, name+".pem"), dir: dir, key: key}
	template := certificate(Request{Name: name})
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, write(a.File, "CERTIFICATE", der)
}

// Issue makes a certificate and its key, for servers and clients, and returns their files. A second one of the same name takes
// their place.
func (a *Authority) Issue(r Request) (cert, key string, err error) {
	cert, key = filepath.Join(a.dir, r.Name+".pem"), filepath.Join(a.dir, r.Name+".key")
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate(r), a.cert, &own.PublicKey, a.key)
	if err != nil {
		return "", "", err
	}
	if err := write(cert, "CERTIFICATE", der); err != nil {
		return "", "", err
	}
	if der, err = x509.MarshalECPrivateKey(own); err != nil {
		return "", "", err
	}
	return cert, key, write(key, "EC PRIVATE KEY", der)
}

func certificate(r Request) *x509.Certificate {
	if r.Hosts == nil {
		r.Hosts = []string{"localhost"}
	}
	if r.NotBefore.IsZero() {
		r.NotBefore = time.Now().Add(-time.Hour)
	}
	if r.NotAfter.IsZero() {
		r.NotAfter = r.NotBefore.Add(25 * time.Hour)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // the reader never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: r.Name}, DNSNames: r.Hosts,
		NotBefore: r.NotBefore, NotAfter: r.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

// write writes a file in PEM. RabbitMQ, maybe another user, has to read it.
func write(path, kind string, der []byte) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}
