package main

import (
	"crypto/tls"
	"log/slog"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/watched"
)

// maxCertificate is the largest certificate or key that is read, in bytes.
const maxCertificate = 1 << 20

// openTLS reads the certificate, or returns nil when none is named. A changed
// pair of files is used from the next connection on.
func openTLS(cfg config, log *slog.Logger) (*tls.Config, error) {
	if cfg.TLSCert == "" {
		return nil, nil
	}
	pair, err := watched.Open(watched.Config[*tls.Certificate]{
		What: "TLS certificate", Paths: []string{cfg.TLSCert, cfg.TLSKey}, Max: maxCertificate, Log: log,
		Parse: func(files []watched.File, _ *tls.Certificate) (*tls.Certificate, error) {
			pair, err := tls.X509KeyPair(files[0].Data, files[1].Data)
			if err != nil {
				return nil, dm.Errorf(dm.Invalid, "read TLS certificate", "tls.cert and tls.key are not a matching certificate and key in PEM").Because(err)
			}
			if pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
				log.Warn("the TLS certificate has expired", "on", pair.Leaf.NotAfter)
			}
			return &pair, nil
		},
	})
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil },
	}, nil
}

// secure makes every door speak TLS. The door of git stays with HTTP/1.1: a
// refused push is answered while its body still arrives, and the connection is
// broken off where git must not take a part for the whole; both are made of
// what HTTP/1.1 does with a connection, and git sends one request at a time.
func (d doors) secure(c *tls.Config) doors {
	two, one := c.Clone(), c.Clone()
	two.NextProtos = []string{"h2", "http/1.1"}
	one.NextProtos = []string{"http/1.1"}
	return doors{tls.NewListener(d.packages, two), tls.NewListener(d.manager, two), tls.NewListener(d.git, one)}
}
