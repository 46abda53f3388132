package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/examples"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keyPair is a certificate of 127.0.0.1 that vouches for itself.
type keyPair struct {
	certificate, key []byte
	trust            *x509.CertPool
}

func newKeyPair(t *testing.T, serial int64) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint("pair ", serial)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	p := keyPair{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		trust:       x509.NewCertPool(),
	}
	p.trust.AppendCertsFromPEM(p.certificate)
	return p
}

// tlsServer is the real program with certificates that a test replaces.
type tlsServer struct {
	*runningServer
	folder    string
	cert, key string
}

func startTLS(t *testing.T, pair keyPair) *tlsServer {
	t.Helper()
	s := &tlsServer{folder: t.TempDir()}
	s.cert, s.key = filepath.Join(s.folder, "cert.pem"), filepath.Join(s.folder, "key.pem")
	s.write(t, s.cert, pair.certificate)
	s.write(t, s.key, pair.key)
	var err error
	s.runningServer, err = launch(s.folder, filepath.Join(s.folder, "data"), isolated(s.folder),
		[]string{"--auth", "insecure-pnda", "--tls-cert", s.cert, "--tls-key", s.key})
	must(t, err)
	t.Cleanup(func() {
		if err := s.end(syscall.SIGTERM); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s
}

func (s *tlsServer) write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
}

// send makes one request on a connection of its own.
func (s *tlsServer) send(method, door, path string, body []byte, c *tls.Config) (*http.Response, error) {
	request, err := http.NewRequest(method, "https://"+s.addresses[door]+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(request)
	if err != nil {
		return nil, err
	}
	return answer, answer.Body.Close()
}

func (s *tlsServer) git(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = s.folder, append(isolated(s.folder), "GIT_SSL_CAINFO="+s.cert)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestTLS speaks to all doors with real clients.
func TestTLS(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t, 1)
	s := startTLS(t, pair)
	trusting := &tls.Config{RootCAs: pair.trust}
	archive, err := examples.Archive("flow-report-1.0.0")
	must(t, err)
	for _, step := range []struct {
		method, door, path string
		body               []byte
		status             int
		protocol           string
	}{
		{"PUT", "packages", "/packages/flow-report-1.0.0.tar.gz?user.name=ana", archive, 200, "HTTP/2.0"},
		{"GET", "packages", "/packages/flow-report-1.0.0.tar.gz?user.name=ana", nil, 200, "HTTP/2.0"},
		{"PUT", "manager", "/packages/flow-report-1.0.0?user.name=ana", nil, 202, "HTTP/2.0"},
		{"GET", "manager", "/nowhere", nil, 404, "HTTP/2.0"},
		{"GET", "git", "/readyz", nil, 200, "HTTP/1.1"},
	} {
		answer, err := s.send(step.method, step.door, step.path, step.body, trusting)
		if err != nil || answer.StatusCode != step.status || answer.Proto != step.protocol {
			t.Errorf("%s %s: got %+v, %v; want %d in %s", step.method, step.path, answer, err, step.status, step.protocol)
		}
	}
	for _, door := range doorNames {
		if _, err := s.send("GET", door, "/livez", nil, &tls.Config{RootCAs: pair.trust, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
			t.Errorf("%s: TLS 1.1 is spoken", door)
		}
		if _, err := s.send("GET", door, "/livez", nil, &tls.Config{RootCAs: pair.trust, MaxVersion: tls.VersionTLS12}); err != nil {
			t.Errorf("%s: TLS 1.2 is not spoken: %v", door, err)
		}
		if status, _, err := send("GET", "http://"+s.addresses[door]+"/livez", ""); err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: plain HTTP: got %d, %v; want 400", door, status, err)
		}
	}
	// The push is larger than what git sends in one piece.
	remote := "https://ana:any@" + s.addresses["git"] + "/packages/flow-report.git"
	s.git(t, "clone", "-q", remote, "dev")
	s.write(t, filepath.Join(s.folder, "dev", "jupyter", "report", "rows.bin"), randomBytes(3<<20))
	s.git(t, "-C", "dev", "add", "-A")
	s.git(t, "-C", "dev", "-c", "user.name=ana", "-c", "user.email=ana@example", "commit", "-q", "-m", "rows")
	s.git(t, "-C", "dev", "tag", "v1.0.1")
	s.git(t, "-C", "dev", "push", "-q", remote, "v1.0.1")
	s.git(t, "clone", "-q", "-b", "1.0.1", remote, "after")
	want, err := os.ReadFile(filepath.Join(s.folder, "dev", "jupyter", "report", "rows.bin"))
	must(t, err)
	got, err := os.ReadFile(filepath.Join(s.folder, "after", "jupyter", "report", "rows.bin"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the push came out as %d bytes, %v; want %d", len(got), err, len(want))
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return b
}

// TestTLSReload: certificates are replaced while the server runs, and a broken
// pair breaks nothing.
func TestTLSReload(t *testing.T) {
	t.Parallel()
	first, second := newKeyPair(t, 1), newKeyPair(t, 2)
	s := startTLS(t, first)
	serves := func(p keyPair) error {
		_, err := s.send("GET", "manager", "/livez", nil, &tls.Config{RootCAs: p.trust})
		return err
	}
	logged := func(text string) bool {
		log, err := os.ReadFile(filepath.Join(s.folder, "server.log"))
		must(t, err)
		return strings.Contains(string(log), text)
	}
	must(t, serves(first))

	// One file without the other is no pair.
	s.write(t, s.cert, second.certificate)
	must(t, poll(func() (bool, string) {
		must(t, serves(first))
		return logged("TLS certificate not reloaded, the previous one stays in effect"), "the half pair is not complained of"
	}))
	s.write(t, s.key, second.key)
	must(t, poll(func() (bool, string) {
		replaced := serves(first) != nil
		if replaced {
			must(t, serves(second)) // there is no moment without either
		}
		return replaced, "the first pair is still served"
	}))
	s.git(t, "ls-remote", "https://"+s.addresses["git"]+"/jupyter-ana")

	must(t, os.Remove(s.key))
	must(t, os.Remove(s.cert))
	must(t, poll(func() (bool, string) {
		must(t, serves(second))
		return logged("TLS certificate cannot be opened"), "the missing pair is not complained of"
	}))
	if logged("PRIVATE") || logged(strings.Split(string(second.key), "\n")[1]) {
		t.Error("the log holds a key")
	}
}
