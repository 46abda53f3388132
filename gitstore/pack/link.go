package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// Link makes the pack at srcPack part of another repository whose objects/pack
// folder is dstDir, durably: by hard links, or by copies where the file system
// cannot link. A .keep file comes first, because gc replaces a pack without one
// and so ends the sharing; the index comes last. A pack that is there already is
// left alone, but made durable: the call that put it there may not have come so far.
func Link(srcPack, dstDir string) error {
	const op = "pack.Link"
	from := strings.TrimSuffix(srcPack, ".pack")
	to := filepath.Join(dstDir, filepath.Base(from))
	if _, err := os.Lstat(to + ".idx"); err == nil {
		return dm.Wrap(op, durable.Sync(dstDir))
	}
	if err := linkOrCopy(from+".keep", to+".keep"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dm.Wrap(op, err)
	}
	for _, extension := range [...]string{".pack", ".idx"} {
		if err := linkOrCopy(from+extension, to+extension); err != nil {
			return dm.Wrap(op, err)
		}
	}
	return dm.Wrap(op, durable.Sync(dstDir))
}

func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil || errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return err
	}
	return copyFile(from, to)
}

// copyFile copies durably, under a temporary name until the copy is whole.
func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // only read from
	target, err := os.CreateTemp(filepath.Dir(to), "tmp_copy_*")
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err == nil {
		err = seal(target)
	}
	if closed := target.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(target.Name(), to)
	}
	if err != nil {
		_ = os.Remove(target.Name())
		return fmt.Errorf("copy pack: %w", err)
	}
	return nil
}
