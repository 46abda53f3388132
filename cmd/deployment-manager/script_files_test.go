package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/bcrypt"

	"github.com/pndaproject/deployment-manager/deploy/examples"
)

// cmdPack: pack FOLDER FILE writes a folder as a .tar.gz whose single outer
// directory has the folder's name.
func cmdPack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pack FOLDER FILE")
	}
	data, err := tarball(os.DirFS(ts.MkAbs(args[0])), path.Base(filepath.ToSlash(args[0])))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

func tarball(files fs.FS, top string) ([]byte, error) {
	var out bytes.Buffer
	zipper := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipper)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: path.Join(top, name), Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipper.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// cmdHtpasswd: htpasswd FILE USER PASSWORD... writes a file of users.
func cmdHtpasswd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args)%2 == 0 {
		ts.Fatalf("usage: htpasswd FILE USER PASSWORD [USER PASSWORD]...")
	}
	var lines strings.Builder
	for i := 1; i < len(args); i += 2 {
		hash, err := bcrypt.GenerateFromPassword([]byte(args[i+1]), bcrypt.MinCost)
		ts.Check(err)
		fmt.Fprintf(&lines, "%s:%s\n", args[i], hash)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(lines.String()), 0o600))
}

// cmdExample: example ID FILE writes the archive of an example package.
func cmdExample(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: example ID FILE")
	}
	data, err := examples.Archive(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// cmdDamage: damage REPOSITORY flips a byte in the middle of every pack.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage REPOSITORY")
	}
	packs, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "objects", "pack", "*.pack"))
	ts.Check(err)
	if len(packs) == 0 {
		ts.Fatalf("%s has no pack", args[0])
	}
	for _, pack := range packs {
		data, err := os.ReadFile(pack)
		ts.Check(err)
		data[len(data)/2] ^= 0xff
		ts.Check(os.Chmod(pack, 0o600))
		ts.Check(os.WriteFile(pack, data, 0o600))
	}
}
