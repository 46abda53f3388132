package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// merged are the folders that a Debian of today has as links into usr, though
// packages still name files in them.
var merged = []string{"bin", "lib", "lib32", "lib64", "libx32", "sbin"}

// Place is where a file of a package is in a system whose /bin, /lib and /sbin
// are links into /usr: a clean slash-separated path without a leading slash,
// "." for the root.
func Place(name string) string {
	name = path.Clean(strings.TrimPrefix(path.Clean("/"+name), "/"))
	for _, top := range merged {
		if name == top || strings.HasPrefix(name, top+"/") {
			return "usr/" + name
		}
	}
	return name
}

// Walk calls visit for every file, folder and link of every package, in the
// order of the packages and their archives. Name and the target of a hard link
// are as Place makes them. The content must be read before visit returns.
func (s *Set) Walk(ctx context.Context, visit func(Package, *tar.Header, io.Reader) error) error {
	for _, p := range s.Packages {
		if err := s.walk(ctx, p, visit); err != nil {
			return fmt.Errorf("unpacking %s: %w", p.file, err)
		}
	}
	return nil
}

func (s *Set) walk(ctx context.Context, p Package, visit func(Package, *tar.Header, io.Reader) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", filepath.Join(s.archives, p.file))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = visitAll(p, out, visit)
	if err != nil {
		cancel() // it may be blocked writing what nobody reads
	}
	if ended := cmd.Wait(); err == nil && ended != nil {
		return fmt.Errorf("%w: %s", ended, bytes.TrimSpace(said.Bytes()))
	}
	return err
}

func visitAll(p Package, in io.Reader, visit func(Package, *tar.Header, io.Reader) error) error {
	archive := tar.NewReader(in)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, in) // the padding, so that dpkg-deb ends well
			return err
		}
		if err != nil {
			return err
		}
		h.Name = Place(h.Name)
		if h.Typeflag == tar.TypeLink {
			h.Linkname = Place(h.Linkname)
		}
		if err := visit(p, h, archive); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// unpack writes all files below dir. The system that the machine's kernel
// offers keeps every path inside, whatever links the packages bring.
func (s *Set) unpack(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Mkdir("usr", 0o755); err != nil {
		return err
	}
	for _, top := range merged {
		if err := root.MkdirAll("usr/"+top, 0o755); err != nil {
			return err
		}
		if err := root.Symlink("usr/"+top, top); err != nil {
			return err
		}
	}
	return s.Walk(ctx, func(_ Package, h *tar.Header, content io.Reader) error {
		return put(root, h, content)
	})
}

// put writes one file. Folders stay writable by their owner until all is there.
func put(root *os.Root, h *tar.Header, content io.Reader) error {
	mode := os.FileMode(h.Mode).Perm()
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(h.Name, mode|0o700)
	}
	if err := root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(h.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, h.Name)
	case tar.TypeLink:
		return root.Link(h.Linkname, h.Name)
	case tar.TypeReg:
	default:
		return nil // devices are for a system that boots
	}
	f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode|0o400)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return root.Chmod(h.Name, mode|0o400) // whatever the umask
}

// Control returns the control record of one of the packages.
func (s *Set) Control(ctx context.Context, p Package) (string, error) {
	return output(ctx, os.Environ(), "dpkg-deb", "--field", filepath.Join(s.archives, p.file))
}
