package gitstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// format is the version of the layout that this server writes. A change of the
// layout that an older server would misread gets the next number, a line here
// and a step in upgradeFrom.
//
//	1  the first
//	2  a commit of the record may have a second parent, which was pushed and is
//	   not part of the record; an older server would take it for one
const format = 2

// upgradeFrom brings a folder of one format to the next. It is repeated when
// the server is killed before the new number is written, so it must do no harm
// the second time.
func (s *Store) upgradeFrom(_ context.Context, old int) error {
	switch old {
	case 1:
		return nil // every folder of format 1 is one of format 2
	default:
		return dm.Errorf(dm.Internal, "gitstore.Open", "nothing upgrades a data folder of format %d", old)
	}
}

// upgrade takes the steps from the format that was found to this server's.
func (s *Store) upgrade(ctx context.Context, found int) error {
	const op = "gitstore.Open"
	for old := found; old < format; old++ {
		if err := s.upgradeFrom(ctx, old); err != nil {
			return dm.Wrap(op, err)
		}
		if err := s.writeFormat(old + 1); err != nil {
			return err
		}
		s.Log.Info("the data folder was upgraded", "from", old, "to", old+1)
	}
	return nil
}

func (s *Store) writeFormat(version int) error {
	return dm.Wrap("gitstore.Open", writeFileDurably(filepath.Join(s.dir, formatFile), []byte(strconv.Itoa(version)+"\n")))
}

// readFormat tells the format of the folder, marks a new folder, and refuses
// what this server can't read before anything in it is changed.
func (s *Store) readFormat() (int, error) {
	const op = "gitstore.Open"
	b, err := os.ReadFile(filepath.Join(s.dir, formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.refuseForeign(); err != nil {
			return 0, err
		}
		return format, s.writeFormat(format)
	}
	if err != nil {
		return 0, dm.Wrap(op, err)
	}
	text := strings.TrimSpace(string(b))
	found, err := strconv.Atoi(text)
	switch {
	case err != nil || found < 1:
		return 0, dm.Errorf(dm.Invalid, op, "the file %q of the data folder holds %q, want the number of a format", formatFile, text)
	case found > format:
		return 0, dm.Errorf(dm.Invalid, op, "the data folder has format %d, which a newer server wrote; this server reads formats up to %d", found, format).
			WithHint("start the newer server again, or go on from a copy of the folder from before the upgrade")
	}
	return found, nil
}

// refuseForeign refuses a folder of something else.
func (s *Store) refuseForeign() error {
	const op = "gitstore.Open"
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return dm.Wrap(op, err)
	}
	for _, e := range entries {
		// A fresh volume has lost+found.
		if e.Name() != lockFile && e.Name() != "lost+found" && !strings.HasPrefix(e.Name(), formatFile) {
			return dm.Errorf(dm.Invalid, op, "the data folder is not empty and has no file %q", formatFile).
				WithHint("give an empty folder with --data")
		}
	}
	return nil
}
