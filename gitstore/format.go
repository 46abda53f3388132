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
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
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
	return dm.Wrap("gitstore.Open", pack.WriteFile(filepath.Join(s.data.Dir, repo.FormatFile), []byte(strconv.Itoa(version)+"\n")))
}

// findFormat tells the format of the folder, 0 for a new one, and refuses what
// this server can't read. It changes nothing.
func (s *Store) findFormat() (int, error) {
	const op = "gitstore.Open"
	// The entries come first: another server may be making a new folder its own.
	entries, err := os.ReadDir(s.data.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, dm.Errorf(dm.Invalid, op, "the data folder can't be read: %s", repo.Reason(err)).Because(err)
	}
	b, err := os.ReadFile(filepath.Join(s.data.Dir, repo.FormatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, refuseForeign(entries)
	}
	if err != nil {
		return 0, dm.Wrap(op, err)
	}
	text := strings.TrimSpace(string(b))
	found, err := strconv.Atoi(text)
	switch {
	case err != nil || found < 1:
		return 0, dm.Errorf(dm.Invalid, op, "the file %q of the data folder holds %q, want the number of a format", repo.FormatFile, text)
	case found > format:
		return 0, dm.Errorf(dm.Invalid, op, "the data folder has format %d, which a newer server wrote; this server reads formats up to %d", found, format).
			WithHint("start the newer server again, or go on from a copy of the folder from before the upgrade")
	}
	return found, nil
}

// readFormat is findFormat for the server that owns the folder: it marks a new one.
func (s *Store) readFormat() (int, error) {
	found, err := s.findFormat()
	if found > 0 || err != nil {
		return found, err
	}
	return format, s.writeFormat(format)
}
