package files

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Prefix is where addresses begin, below the base.
const Prefix = "/files/"

// KeyFile is the name of the key's file in the data folder.
const KeyFile = "files-key"

const keyBytes = 32

// Signer makes addresses and knows its own.
type Signer struct {
	base string
	key  []byte
}

var _ dm.FileAddresses = (*Signer)(nil)

// NewSigner makes addresses below base, such as http://deployment-manager.pnda:5000,
// which is where pods reach the server.
func NewSigner(base string, key []byte) (*Signer, error) {
	const op = "files.NewSigner"
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, dm.Errorf(dm.Invalid, op, "%q is no address of this server for pods; it is such as http://deployment-manager.pnda:5000", base)
	}
	if len(key) != keyBytes {
		return nil, dm.Errorf(dm.Invalid, op, "the key for addresses has %d bytes, want %d", len(key), keyBytes)
	}
	return &Signer{strings.TrimSuffix(base, "/"), key}, nil
}

// LoadKey reads the key from a file and makes it when there is none. Who removes the
// file makes all addresses that were given void.
func LoadKey(path string) ([]byte, error) {
	const op = "files.LoadKey"
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keyBytes)
		rand.Read(key) // never fails
		if err := writeKey(path, key); err != nil {
			return nil, dm.Wrap(op, err)
		}
		return key, nil
	}
	if err == nil && len(key) != keyBytes {
		return nil, dm.Errorf(dm.Invalid, op, "the key for addresses of files, files-key in the data folder, is damaged; remove it to have another made, and start the applications again whose pods fetch files")
	}
	return key, dm.Wrap(op, err)
}

// writeKey puts the whole key there or nothing, and durably: pods keep addresses longer
// than the machine's memory.
func writeKey(path string, key []byte) error {
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(aside, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Address implements dm.FileAddresses.
func (s *Signer) Address(f dm.DeliveredFile, digest [32]byte) string {
	parts := []string{s.sign(f, digest), sort(f), hex.EncodeToString(digest[:]), string(f.Application), string(f.Type), string(f.Component)}
	parts = append(parts, strings.Split(f.Path, "/")...)
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return s.base + Prefix + strings.Join(parts, "/")
}

// sort is how a file is delivered.
func sort(f dm.DeliveredFile) string {
	if f.Filled {
		return "filled"
	}
	return "file"
}

// sign is the signature of an address: no two files and contents give the same text.
func (s *Signer) sign(f dm.DeliveredFile, digest [32]byte) string {
	mac := hmac.New(sha256.New, s.key)
	for _, part := range []string{sort(f), string(f.Application), string(f.Type), string(f.Component), f.Path} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	mac.Write(digest[:])
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// parse reads what stands behind Prefix, as it was sent. ok = false for all that was
// not made by Address.
func (s *Signer) parse(raw string) (f dm.DeliveredFile, digest [32]byte, ok bool) {
	parts := strings.Split(raw, "/")
	if len(parts) < 7 {
		return f, digest, false
	}
	for i := range parts {
		text, err := url.PathUnescape(parts[i])
		if err != nil {
			return f, digest, false
		}
		parts[i] = text
	}
	f = dm.DeliveredFile{
		Application: dm.ApplicationName(parts[3]), Type: dm.ComponentType(parts[4]), Component: dm.ComponentName(parts[5]),
		Path: strings.Join(parts[6:], "/"), Filled: parts[1] == "filled",
	}
	sum, err := hex.DecodeString(parts[2])
	if err != nil || len(sum) != len(digest) || hex.EncodeToString(sum) != parts[2] || parts[1] != sort(f) || !fs.ValidPath(f.Path) {
		return f, digest, false
	}
	digest = [32]byte(sum)
	return f, digest, hmac.Equal([]byte(parts[0]), []byte(s.sign(f, digest)))
}
