package node

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pauseImage is what holds a pod's network.
const pauseImage = "localhost/pause:node"

// importImages waits for containerd and gives it the images of all pods.
func importImages(ctx context.Context, o Options) error {
	if err := Await(ctx, "containerd", Patience, func() error {
		_, err := Run(ctx, "ctr", "version")
		return err
	}); err != nil {
		return err
	}
	pause := filepath.Join(Folder, "pause.tar")
	err := WriteImage(pause, pauseImage, Bare(v1.Config{Entrypoint: []string{"/bin/busybox", "sleep", "1000000000"}}), func(w *tar.Writer) error {
		return AddFile(w, "/usr/bin/busybox", "bin/busybox")
	})
	if err != nil {
		return err
	}
	for _, archive := range append([]string{pause}, o.Images...) {
		if err := Import(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// Import gives the node the images of an archive.
func Import(ctx context.Context, archive string) error {
	_, err := Run(ctx, "ctr", "-n", "k8s.io", "images", "import", archive)
	return err
}

// Bare is an image without files.
func Bare(config v1.Config) func() (v1.Image, error) {
	return func() (v1.Image, error) {
		return mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: config})
	}
}

// WriteImage makes an image of another and one layer more.
func WriteImage(file, called string, from func() (v1.Image, error), fill func(*tar.Writer) error) error {
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

// AddFile adds a file, folder or link, as root's.
func AddFile(w *tar.Writer, path, as string) error {
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
