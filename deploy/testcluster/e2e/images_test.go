package e2e

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	pauseImage = "localhost/pause:e2e"
	userImage  = "localhost/notebook:e2e"
	ownImage   = "localhost/notebook-with-program:e2e" // what a Dockerfile of two lines makes
)

// importImages waits for containerd and gives it the images of all pods. No
// registry is asked: the pods find their images on the node.
func importImages(ctx context.Context, t *testing.T, s settings) {
	t.Helper()
	await(ctx, t, "containerd", patience, func() error {
		_, err := run(ctx, "ctr", "version")
		return err
	})
	folder := t.TempDir()
	pause, user, own := filepath.Join(folder, "pause.tar"), filepath.Join(folder, "user.tar"), filepath.Join(folder, "own.tar")
	err := errors.Join(
		writeImage(pause, pauseImage, bare(v1.Config{Entrypoint: []string{"/bin/busybox", "sleep", "1000000000"}}), func(w *tar.Writer) error {
			return addFile(w, "/usr/bin/busybox", "bin/busybox")
		}),
		writeImage(user, userImage, bare(v1.Config{Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/jovyan"}}), func(w *tar.Writer) error { return addUser(w, s.User) }),
	)
	if err != nil {
		t.Fatal(err)
	}
	from := func() (v1.Image, error) { return tarball.ImageFromPath(user, nil) }
	if err := writeImage(own, ownImage, from, func(w *tar.Writer) error {
		return addFile(w, s.Program, "opt/deployment-manager/deployment-manager-sync-"+runtime.GOARCH)
	}); err != nil {
		t.Fatal(err)
	}
	for _, archive := range []string{pause, user, own, s.Image} {
		if _, err := run(ctx, "ctr", "-n", "k8s.io", "images", "import", archive); err != nil {
			t.Fatal(err)
		}
	}
}

// bare is an image without files.
func bare(config v1.Config) func() (v1.Image, error) {
	return func() (v1.Image, error) {
		return mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: config})
	}
}

// writeImage makes an image of another and one layer more.
func writeImage(file, called string, from func() (v1.Image, error), fill func(*tar.Writer) error) error {
	layer := file + ".layer"
	out, err := os.Create(layer)
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	if err := errors.Join(fill(w), w.Close(), out.Close()); err != nil {
		return err
	}
	opened, err := tarball.LayerFromFile(layer)
	if err != nil {
		return err
	}
	image, err := from()
	if err != nil {
		return err
	}
	if image, err = mutate.AppendLayers(image, opened); err != nil {
		return err
	}
	tag, err := name.NewTag(called)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(file, tag, image)
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
		return addFile(w, path, inside)
	}); err != nil {
		return err
	}
	if err := addFile(w, "/usr/bin/busybox", "usr/bin/busybox"); err != nil {
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
			return errors.Join(err, addFile(w, path, filepath.Join(id, inside)))
		})
		if err := errors.Join(err, w.Close(), zip.Close(), out.Close()); err != nil {
			return "", err
		}
	}
	return folder, nil
}

// addFile adds a file, folder or link, as root's.
func addFile(w *tar.Writer, path, as string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name, header.Uid, header.Gid, header.Uname, header.Gname = as, 0, 0, "", ""
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}
