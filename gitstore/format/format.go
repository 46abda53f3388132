package format

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// current is the version of the layout that this server writes. A change of the
// layout that an older server would misread gets the next number, a line here
// and, if there is something to do in the folder, a step in Upgrade. Commits are
// never rewritten: what reads them reads those of all formats.
//
//	1  the first
//	2  a commit of the record may have a second parent, which was pushed and is
//	   not part of the record; an older server would take it for one
//	3  every change of an application has the number of the deployment in force,
//	   see index.Application.Number; every transition has a number of the server's; the archive of a
//	   pushed version need not be stored. New since 2 began, and known to its last
//	   servers: known-refs, sweeps.git, "left" in outcomes, DM-Overtakes, marks in
//	   damaged
const current = 3

// Earlier says what a start does with a data folder of an earlier format.
type Earlier int

const (
	RefuseEarlier  Earlier = iota // leaves it as it is
	UpgradeEarlier                // makes it one of this format, which the servers before can't open
	ReadEarlier                   // lets it be what it is, for a caller that changes nothing of the record
)

// Folder is a data folder that a server wants for its own. All is required
// but Earlier and LockWait.
type Folder struct {
	Data     *repo.Folder
	Earlier  Earlier
	LockWait time.Duration // how long Lock waits for another process to leave it; 0 means not at all
	Log      *slog.Logger
}

// Upgrade makes the folder one of this server's format. It is done again when the
// server is killed before the number is written.
func (f *Folder) Upgrade(found int) error {
	if found == current || f.Earlier == ReadEarlier {
		return nil
	}
	f.Data.Step("upgrade-begun")
	if err := f.writeFormat(); err != nil {
		return err
	}
	f.Data.Step("upgrade-written")
	f.Log.Info("the data folder was upgraded", "from", found, "to", current)
	return nil
}

func (f *Folder) writeFormat() error {
	return dm.Wrap("format.Folder", durable.WriteFile(filepath.Join(f.Data.Dir, repo.FormatFile), []byte(strconv.Itoa(current)+"\n")))
}

// findFormat tells the format of the folder, 0 for a new one, and refuses what
// this server can't read. It changes nothing.
func (f *Folder) findFormat() (int, error) {
	const op = "format.Folder"
	// The entries come first: another server may be making a new folder its own.
	entries, err := os.ReadDir(f.Data.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, dm.Errorf(dm.Invalid, op, "the data folder cannot be read: %s", repo.Reason(err)).Because(err)
	}
	b, err := os.ReadFile(filepath.Join(f.Data.Dir, repo.FormatFile))
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
		return 0, dm.Errorf(dm.Invalid, op, "the file %q of the data folder contains %q, want the number of a format", repo.FormatFile, text)
	case found > current:
		return 0, dm.Errorf(dm.Invalid, op, "the data folder has format %d, which a newer server wrote; this server reads formats up to %d", found, current).
			WithHint("start the newer server again, or go on from a copy of the folder from before the upgrade")
	case found < current && f.Earlier == RefuseEarlier:
		return 0, dm.Errorf(dm.Invalid, op, "the data folder has format %d, and this server writes format %d, which the server before cannot open", found, current).
			WithHint("take a snapshot of the volume, or a copy of the folder, then start once with --upgrade-format (Helm: --set upgrade.accept=true)")
	}
	return found, nil
}

// Read is findFormat for the server that owns the folder: it marks a new one.
func (f *Folder) Read() (int, error) {
	found, err := f.findFormat()
	if found > 0 || err != nil {
		return found, err
	}
	return current, f.writeFormat()
}
