package gitstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// ours lists what stands at the top of a data folder, and which of it are
// folders. lost+found is the file system's.
func (s *Store) ours() (files, folders []string) {
	folders = []string{repo.CursorsDir, repo.HooksDir, repo.TmpDir, repo.DamagedDir, string(repo.Blank.Kind), string(repo.Sweeps.Kind)}
	for _, kind := range s.data.Many() {
		folders = append(folders, string(kind), filepath.Join(repo.DamagedDir, string(kind)))
	}
	return []string{repo.FormatFile, repo.LockFile, repo.KnownFile}, folders
}

// examine refuses a data folder that is not one of this server's before
// anything in it is made, locked or changed. The folder itself may be a link; in
// it, what is emptied, removed and renamed must not lead to somewhere else.
func (s *Store) examine() error {
	if _, err := s.findFormat(); err != nil {
		return err
	}
	files, folders := s.ours()
	for _, name := range files {
		if err := s.plain(name, "file", fs.FileMode.IsRegular); err != nil {
			return err
		}
	}
	for _, name := range folders {
		if err := s.plain(name, "folder", fs.FileMode.IsDir); err != nil {
			return err
		}
	}
	return nil
}

// plain refuses what is there under a name of ours and is something else.
func (s *Store) plain(name, want string, is func(fs.FileMode) bool) error {
	const op = "gitstore.Open"
	info, err := os.Lstat(filepath.Join(s.data.Dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return dm.Errorf(dm.Unavailable, op, "the data folder cannot be read: %s", repo.Reason(err)).Because(err)
	case is(info.Mode()):
		return nil
	case info.Mode()&fs.ModeSymlink != 0:
		return dm.Errorf(dm.Invalid, op, "%s in the data folder is a symbolic link", name).
			WithHint("put the %s itself there, or make the whole data folder a link", want)
	}
	return dm.Errorf(dm.Invalid, op, "%s in the data folder is not a %s", name, want)
}

// refuseForeign refuses a folder of something else, among whose entries there is
// no format.
func refuseForeign(entries []fs.DirEntry) error {
	for _, e := range entries {
		// A fresh volume has lost+found.
		if e.Name() != repo.LockFile && e.Name() != "lost+found" && !strings.HasPrefix(e.Name(), repo.FormatFile) {
			return dm.Errorf(dm.Invalid, "gitstore.Open", "the data folder is not empty and has no file %q", repo.FormatFile).
				WithHint("use an empty folder with --data")
		}
	}
	return nil
}
