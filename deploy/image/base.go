package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
)

// baseTree is the Debian system below the server.
func baseTree(ctx context.Context, set *debian.Set) (tree, error) {
	t := tree{}
	owners := map[string][]string{} // the files of each package
	var newest time.Time
	err := set.Walk(ctx, func(p debian.Package, h *tar.Header, content io.Reader) error {
		if h.ModTime.After(newest) {
			newest = h.ModTime
		}
		if isUnneeded(h.Name) {
			return nil
		}
		kept, err := t.take(h, content)
		if kept && h.Typeflag != tar.TypeDir {
			owners[p.Name] = append(owners[p.Name], h.Name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := t.status(ctx, set, owners, newest); err != nil {
		return nil, err
	}
	if err := t.furnish(newest); err != nil {
		return nil, err
	}
	t.complete(newest)
	return t, nil
}

func isUnneeded(name string) bool {
	for folder := name; folder != "."; folder = path.Dir(folder) {
		for _, pattern := range unneeded() {
			if match, err := path.Match(pattern, folder); match && err == nil {
				return true
			}
		}
	}
	return strings.HasPrefix(name, "usr/share/doc/") && path.Base(name) != "copyright"
}

// take adds a file of a package, unless it is a script in Perl. Nothing in the
// image may give its caller more rights, so setuid and setgid bits go.
func (t tree) take(h *tar.Header, content io.Reader) (kept bool, err error) {
	n := &node{header: tar.Header{Typeflag: h.Typeflag, Linkname: h.Linkname, Mode: h.Mode & 0o1777, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime}}
	switch h.Typeflag {
	case tar.TypeDir:
		if h.Name == "." || t[h.Name] != nil {
			return true, nil
		}
	case tar.TypeReg:
		if n.content, err = io.ReadAll(content); err != nil {
			return false, err
		}
		if bytes.HasPrefix(n.content, []byte("#!/usr/bin/perl")) {
			return false, nil
		}
	case tar.TypeLink: // as a file of its own: no package here has large ones
		other := t[h.Linkname]
		if other == nil {
			return false, fmt.Errorf("a link to %s, which is not there", h.Linkname)
		}
		n.header.Typeflag, n.header.Linkname, n.content = tar.TypeReg, "", other.content
	case tar.TypeSymlink:
	default:
		return false, nil // a container gets its devices from its runtime
	}
	t[h.Name] = n
	return true, nil
}

// status writes dpkg's database, in which scanners of images look up versions
// that are known to be vulnerable.
func (t tree) status(ctx context.Context, set *debian.Set, owners map[string][]string, when time.Time) error {
	var all bytes.Buffer
	for _, p := range set.Packages {
		record, err := set.Control(ctx, p)
		if err != nil {
			return err
		}
		first, rest, ok := strings.Cut(strings.TrimSpace(record), "\n")
		if !ok || !strings.HasPrefix(first, "Package: ") {
			return fmt.Errorf("the control record of %s is not understood", p.Name)
		}
		fmt.Fprintf(&all, "%s\nStatus: install ok installed\n%s\n\n", first, rest)
		files := owners[p.Name]
		slices.Sort(files)
		t.file("var/lib/dpkg/info/"+p.Name+".list", 0o644, []byte("/"+strings.Join(files, "\n/")+"\n"), when)
	}
	t.file("var/lib/dpkg/status", 0o644, all.Bytes(), when)
	return nil
}

// furnish does what the packages' own scripts would have done, and adds what is
// ours.
func (t tree) furnish(when time.Time) error {
	for _, top := range []string{"bin", "lib", "lib64", "sbin"} {
		t.folder("usr/"+top, 0o755, 0, when)
		t.link(top, "usr/"+top, when)
	}
	for _, dir := range []string{"dev", "proc", "run", "sys", "var/cache", "var/log"} {
		t.folder(dir, 0o755, 0, when)
	}
	t.folder("root", 0o700, 0, when)
	t.folder("tmp", 0o1777, 0, when)
	t.folder("var/tmp", 0o1777, 0, when)
	t.folder(strings.TrimPrefix(dataFolder, "/"), 0o750, userID, when)
	t.file("etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n%s:x:%d:%d::/nonexistent:/bin/sh\n", user, userID, userID), when)
	t.file("etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\nnogroup:x:65534:\n%s:x:%d:\n", user, userID), when)
	t.file("etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files dns\n"), when)
	// For git in a shell of the container: a volume may belong to another user.
	t.file("etc/gitconfig", 0o644, []byte("[safe]\n\tdirectory = *\n"), when)
	if t["usr/bin/mawk"] != nil {
		t.link("usr/bin/awk", "mawk", when)
	}
	return t.certificates(when)
}

// certificates writes the bundle of the authorities that Debian trusts.
func (t tree) certificates(when time.Time) error {
	var bundle bytes.Buffer
	for _, name := range t.names() {
		if strings.HasPrefix(name, "usr/share/ca-certificates/mozilla/") && strings.HasSuffix(name, ".crt") {
			bundle.Write(bytes.TrimSpace(t[name].content))
			bundle.WriteByte('\n')
		}
	}
	if bundle.Len() == 0 {
		return errors.New("the package ca-certificates has no certificates")
	}
	t.file("etc/ssl/certs/ca-certificates.crt", 0o644, bundle.Bytes(), when)
	return nil
}
