package e2e

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

const (
	userImage = "localhost/notebook:e2e"
	ownImage  = "localhost/notebook-with-program:e2e" // what a Dockerfile of two lines makes
)

// makeImages writes the archives of users' images into a folder.
func makeImages(folder string, s settings) ([]string, error) {
	user, own := filepath.Join(folder, "user.tar"), filepath.Join(folder, "own.tar")
	bare := node.Bare(v1.Config{Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/jovyan"}})
	if err := node.WriteImage(user, userImage, bare, func(w *tar.Writer) error { return addUser(w, s.User) }); err != nil {
		return nil, err
	}
	from := func() (v1.Image, error) { return tarball.ImageFromPath(user, nil) }
	err := node.WriteImage(own, ownImage, from, func(w *tar.Writer) error {
		return node.AddFile(w, s.Program, "opt/deployment-manager/deployment-manager-sync-"+runtime.GOARCH)
	})
	return []string{user, own}, err
}

// addUser adds the folder of Debian's packages and the user of a notebook's
// image, who owns nothing but what the pod mounts.
func addUser(w *tar.Writer, folder string) error {
	if err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		inside, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if inside == "tmp" {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: inside, Mode: 0o1777})
		}
		if strings.HasPrefix(inside, "usr/share/doc") || strings.HasPrefix(inside, "usr/share/locale") {
			return nil
		}
		return node.AddFile(w, path, inside)
	}); err != nil {
		return err
	}
	if err := node.AddFile(w, "/usr/bin/busybox", "usr/bin/busybox"); err != nil {
		return err
	}
	const users = "root:x:0:0:root:/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n"
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644, Size: int64(len(users))}); err != nil {
		return err
	}
	_, err := io.WriteString(w, users)
	return err
}

// makeExamples writes the archives that a person uploads into the folder.
func makeExamples(folder, checkout string) (string, error) {
	for _, id := range []string{"flow-report-1.0.0", "flow-report-1.1.0"} {
		out, err := os.Create(filepath.Join(folder, id+".tar.gz"))
		if err != nil {
			return "", err
		}
		zip := gzip.NewWriter(out)
		w := tar.NewWriter(zip)
		source := filepath.Join(checkout, "deploy/examples", id)
		err = filepath.WalkDir(source, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			inside, err := filepath.Rel(source, path)
			return errors.Join(err, node.AddFile(w, path, filepath.Join(id, inside)))
		})
		if err := errors.Join(err, w.Close(), zip.Close(), out.Close()); err != nil {
			return "", err
		}
	}
	return folder, nil
}
