package pack

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// Replace puts the pack at srcPack with its index in the place of the one at
// packPath, durably: by hard links, or by copies where the file system cannot
// link. Each of the two files is there at every moment, if it was before. A .keep
// file of the source is made for the target as well.
func Replace(srcPack, packPath string) error {
	const op = "pack.Replace"
	from, to := strings.TrimSuffix(srcPack, ".pack"), strings.TrimSuffix(packPath, ".pack")
	if _, err := os.Lstat(from + ".keep"); err == nil {
		if err := writeKeep(to+".keep", "mended"); err != nil {
			return dm.Wrap(op, err)
		}
	}
	for _, extension := range [...]string{".pack", ".idx"} {
		if err := replaceFile(from+extension, to+extension); err != nil {
			return dm.Wrap(op, err)
		}
	}
	return dm.Wrap(op, durable.Sync(filepath.Dir(packPath)))
}

// replaceFile needs the name in between, because a link never takes the place of
// a file.
func replaceFile(from, to string) error {
	between := filepath.Join(filepath.Dir(to), "tmp_mend_"+filepath.Base(to))
	if err := removeFile(between); err != nil {
		return err
	}
	if err := linkOrCopy(from, between); err != nil {
		return err
	}
	if err := os.Rename(between, to); err != nil {
		return errors.Join(err, removeFile(between))
	}
	return removeFile(between) // which a rename leaves when both are one file
}

func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
