package events

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// Cursors are the numbers up to which readers that are known by a name have read,
// each in a file of Dir.
type Cursors struct {
	Dir string
	Log *slog.Logger
}

// path is the file of a cursor: its name may hold a secret.
func (c Cursors) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(c.Dir, hex.EncodeToString(sum[:]))
}

// Read returns the number that was kept for name, and whether there is one.
func (c Cursors) Read(name string) (seq uint64, ok bool, err error) {
	text, err := os.ReadFile(c.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if seq, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63); err != nil {
		c.Log.Error("a cursor is damaged, and its reader begins anew", "file", c.path(name), "err", err)
	}
	return seq, err == nil, nil
}

// Keep keeps a number durably.
func (c Cursors) Keep(name string, seq uint64) error {
	return durable.WriteFile(c.path(name), []byte(strconv.FormatUint(seq, 10)+"\n"))
}

// Tidy removes what a killed server left of a cursor that it was writing.
func (c Cursors) Tidy() error {
	half, err := filepath.Glob(filepath.Join(c.Dir, "*-*"))
	for _, path := range half {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
