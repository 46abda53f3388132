package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	dm "github.com/pndaproject/deployment-manager"
)

// WriteFile writes a small file so that it is there whole or not at all, also
// after a power cut. What a crash leaves beside it has the same name, a dash and
// a number.
func WriteFile(path string, content []byte) error {
	const op = "durable.WriteFile"
	if err := WriteWhole(path, content); err != nil {
		return dm.Wrap(op, err)
	}
	return Sync(filepath.Dir(path))
}

// WriteWhole is WriteFile but for the folder, which the caller makes durable.
func WriteWhole(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// Sync makes a file's content, or the names in a folder, durable.
func Sync(path string) error {
	const op = "durable.Sync"
	f, err := os.Open(path)
	if err != nil {
		return dm.Wrap(op, err)
	}
	return dm.Wrap(op, errors.Join(f.Sync(), f.Close()))
}
