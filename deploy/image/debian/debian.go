package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Options say what to bring and where to keep it.
type Options struct {
	// Packages are the names to bring, with all that they depend on, but
	// nothing that they only recommend. Required.
	Packages []string
	// Without are names that count as there: they, and what only they need,
	// are left out.
	Without []string
	// Sources are apt's sources in the deb822 form; empty means the machine's.
	// Of both only what Debian or Ubuntu itself has published is used.
	Sources string
	// Cache is a folder that is kept from one run to the next; made when
	// missing. Empty means Cache().
	Cache string
	// Refresh fetches the lists of packages even if there are some.
	Refresh bool
	// Progress is told in lines what takes long; nil means nobody.
	Progress io.Writer
}

// ErrNoApt is the error on a machine that has no apt and dpkg.
var ErrNoApt = errors.New("this machine has no apt and dpkg, which bring Debian's packages; use a Debian or Ubuntu machine, or build the image with deploy/Dockerfile")

// Cache is the folder that is used when none is named.
func Cache() (string, error) {
	folder, err := os.UserCacheDir()
	return filepath.Join(folder, "deployment-manager-debian"), err
}

// Package is one that was chosen.
type Package struct {
	Name, Version, Architecture string
	// SHA256 is the archive's hash as the signed lists tell it, in hex.
	SHA256 string
	file   string // the archive's name in Set.archives
}

// Set is a closed set of packages whose archives are in the cache.
type Set struct {
	Packages []Package // by name
	archives string
}

// Key tells sets apart: it is the same exactly for the same packages.
func (s *Set) Key() string {
	h := sha256.New()
	for _, p := range s.Packages {
		fmt.Fprintln(h, p.Name, p.Version, p.Architecture, p.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Root returns a folder of the cache into which the packages are unpacked, so
// that programs can be run from there; see Libraries. Files belong to the
// caller and none is setuid. The folder is shared with other callers: do not
// change it.
func Root(ctx context.Context, o Options) (dir string, err error) {
	set, err := Fetch(ctx, o)
	if err != nil {
		return "", err
	}
	cache, err := o.cache()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, "roots", set.Key())
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	aside, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(aside)
	o.say("unpacking %d Debian packages, once", len(set.Packages))
	if err := set.unpack(ctx, aside); err != nil {
		return "", err
	}
	if err := os.Chmod(aside, 0o755); err != nil {
		return "", err
	}
	// Another run may have been faster; its folder is as good.
	if err := os.Rename(aside, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

// Libraries are the folders of shared libraries below a Root, for
// LD_LIBRARY_PATH. They fit the machine's programs where the packages are of
// the machine's release.
func Libraries(root string) []string {
	folders, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
	if err != nil {
		return nil
	}
	return folders
}

func (o Options) cache() (string, error) {
	if o.Cache != "" {
		return filepath.Abs(o.Cache)
	}
	return Cache()
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}
