package testcluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// PKI is a certificate authority made for one run, and where its files are.
type PKI struct {
	Dir               string // one <name>.crt and <name>.key for each certificate
	CA                string // file with the authority's certificate
	ServiceAccountKey string // file with the private key that signs service accounts' tokens
	ServiceAccountPub string // file with its public half

	mu          sync.Mutex
	serial      int64
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Pair is a certificate and its private key, as files.
type Pair struct {
	Certificate, Key string
}

func newPKI(dir string) (*PKI, error) {
	p := &PKI{Dir: dir, CA: filepath.Join(dir, "ca.crt"), ServiceAccountKey: filepath.Join(dir, "sa.key"), ServiceAccountPub: filepath.Join(dir, "sa.pub")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := p.sign("ca", &x509.Certificate{
		Subject:               pkix.Name{CommonName: "test-ca"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}); err != nil {
		return nil, err
	}
	return p, p.serviceAccounts()
}

// Client makes a certificate that signs in at the API server as the user, a
// member of the groups.
func (p *PKI) Client(user string, groups ...string) (Pair, error) {
	return p.sign("client-"+fileName(user), &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// Server makes a certificate for a server at these addresses and host names.
func (p *PKI) Server(name string, addresses []net.IP, hosts ...string) (Pair, error) {
	return p.sign("server-"+fileName(name), &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: addresses,
		DNSNames:    hosts,
	})
}

// sign makes a key and a certificate for it, the authority's own when there is
// none yet.
func (p *PKI) sign(name string, template *x509.Certificate) (Pair, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	p.serial++
	template.SerialNumber = big.NewInt(p.serial)
	template.NotBefore = time.Now().Add(-time.Minute)
	template.NotAfter = time.Now().AddDate(0, 0, 7)
	if p.certificate == nil {
		p.certificate, p.key = template, key
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, p.certificate, &key.PublicKey, p.key)
	if err != nil {
		return Pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	pair := Pair{Certificate: filepath.Join(p.Dir, name+".crt"), Key: filepath.Join(p.Dir, name+".key")}
	if err := writePEM(pair.Certificate, "CERTIFICATE", signed); err != nil {
		return Pair{}, err
	}
	return pair, writePEM(pair.Key, "PRIVATE KEY", private)
}

func (p *PKI) serviceAccounts() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(p.ServiceAccountKey, "EC PRIVATE KEY", private); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return writePEM(p.ServiceAccountPub, "PUBLIC KEY", public)
}

func writePEM(name, kind string, content []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}

// fileName is the user's name without what a file's name cannot have; users of
// one cluster must differ in what stays.
func fileName(user string) string {
	name := []byte(user)
	for i, c := range name {
		if c == '/' || c == ':' {
			name[i] = '-'
		}
	}
	return string(name)
}
