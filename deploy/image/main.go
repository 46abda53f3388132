package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
)

// source is this program's: layers in the cache were made by the same one.
//
//go:embed *.go debian/*.go
var source embed.FS

// order is what the caller asks for.
type order struct {
	checkout string
	out      string // the archive; "" means none
	root     string // a folder that gets the files instead; "" means none
	tag      string // "" means the version
	layers   string // where layers are kept for the next time; "" means in debian.Cache()
	refresh  bool
	progress io.Writer
}

func main() {
	o := order{progress: os.Stderr}
	flag.StringVar(&o.checkout, "checkout", ".", "`folder` of the server's source")
	flag.StringVar(&o.out, "out", "bin/deployment-manager-image.tar", "`file` to write")
	flag.StringVar(&o.root, "root", "", "write the files into this `folder` instead of an archive; needs root")
	flag.StringVar(&o.tag, "tag", "", "`tag` of the image (default the server's version)")
	flag.BoolVar(&o.refresh, "refresh", false, "ask Debian for newer packages first, such as security updates")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	said, err := o.execute(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}

// execute writes the image, and beside it a file of values for Helm, and returns
// what it wrote, a line for each.
func (o order) execute(ctx context.Context) (string, error) {
	if o.root != "" && os.Geteuid() != 0 {
		return "", errors.New("only root can write files that belong to others")
	}
	options := debian.Options{Packages: packages(), Without: without(), Refresh: o.refresh, Progress: o.progress}
	set, err := debian.Fetch(ctx, options)
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "deployment-manager-image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	fmt.Fprintln(o.progress, "building the server")
	b, err := buildServer(ctx, o.checkout, folder)
	if err != nil {
		return "", err
	}
	server, err := serverTree(b)
	if err != nil {
		return "", err
	}
	if o.root != "" {
		base, err := baseTree(ctx, set)
		if err == nil {
			err = errors.Join(base.extract(o.root), server.extract(o.root))
		}
		return o.root + ": version " + b.version + "; values for Helm:\n" + strings.TrimSpace(values(server, b.tag())), err
	}
	base, err := o.baseLayer(ctx, set)
	if err != nil {
		return "", err
	}
	added := filepath.Join(folder, "server.tar.gz")
	if err := compress(server, added); err != nil {
		return "", err
	}
	said, err := o.archive(b, base, added)
	if err != nil {
		return "", err
	}
	file := strings.TrimSuffix(o.out, ".tar") + ".values.yaml"
	if err := os.WriteFile(file, []byte(values(server, o.tagOf(b))), 0o644); err != nil {
		return "", err
	}
	return said + "\n" + file + ": values for Helm, the image's tag and the programs that pods may run", nil
}

// tagOf is the tag of the image.
func (o order) tagOf(b build) string {
	if o.tag != "" {
		return o.tag
	}
	return b.tag()
}

// archive writes the image of the two layers in the files base and server.
func (o order) archive(b build, base, server string) (string, error) {
	var layers []layer
	for _, l := range []struct{ file, says string }{{base, "Debian with git"}, {server, "the deployment manager " + b.version}} {
		opened, err := tarball.LayerFromFile(l.file, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return "", err
		}
		layers = append(layers, layer{opened, l.says})
	}
	image, err := assemble(b, layers...)
	if err != nil {
		return "", err
	}
	tag := o.tagOf(b)
	if err := writeArchive(o.out, repository+":"+tag, image); err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(o.out)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s:%s, %d MB, %s", o.out, repository, tag, (info.Size()+5e5)/1e6, digest), nil
}

// baseLayer is the file of the Debian layer, from the cache if this program
// made it before of the same packages.
func (o order) baseLayer(ctx context.Context, set *debian.Set) (string, error) {
	folder := o.layers
	if folder == "" {
		cache, err := debian.Cache()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(cache, "layers")
	}
	recipe, err := recipe()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, set.Key()+"-"+recipe+".tar.gz")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Fprintf(o.progress, "making the layer of %d Debian packages, once\n", len(set.Packages))
	base, err := baseTree(ctx, set)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		return "", err
	}
	return path, compress(base, path)
}

// recipe is a hash of this program's source without its tests.
func recipe() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(source, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		content, err := source.ReadFile(name)
		fmt.Fprintln(h, name, len(content))
		h.Write(content)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:8], err
}

// compress writes the tree as a layer, made aside and renamed.
func compress(t tree, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".layer-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	out, err := gzip.NewWriterLevel(f, gzip.DefaultCompression)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	out.ModTime = time.Time{}
	err = t.write(out)
	if err = errors.Join(err, out.Close(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
