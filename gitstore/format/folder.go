package format

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// ours lists what stands at the top of a data folder, and which of it are
// folders. lost+found is the file system's.
func (f *Folder) ours() (files, folders []string) {
	folders = []string{repo.CursorsDir, repo.HooksDir, repo.TmpDir, repo.DamagedDir}
	for _, kind := range f.Data.Kinds {
		folders = append(folders, string(kind.Name))
		if !kind.Single {
			folders = append(folders, filepath.Join(repo.DamagedDir, string(kind.Name)))
		}
	}
	return []string{repo.FormatFile, repo.LockFile, repo.KnownFile}, folders
}

// Examine refuses a data folder that is not one of this server's before
// anything in it is made, locked or changed. The folder itself may be a link; in
// it, what is emptied, removed and renamed must not lead to somewhere else.
func (f *Folder) Examine() error {
	if _, err := f.findFormat(); err != nil {
		return err
	}
	files, folders := f.ours()
	for _, name := range files {
		if err := f.plain(name, "file", fs.FileMode.IsRegular); err != nil {
			return err
		}
	}
	for _, name := range folders {
		if err := f.plain(name, "folder", fs.FileMode.IsDir); err != nil {
			return err
		}
	}
	return nil
}

// plain refuses what is there under a name of ours and is something else.
func (f *Folder) plain(name, want string, is func(fs.FileMode) bool) error {
	const op = "format.Folder"
	info, err := os.Lstat(filepath.Join(f.Data.Dir, name))
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
			return dm.Errorf(dm.Invalid, "format.Folder", "the data folder is not empty and has no file %q", repo.FormatFile).
				WithHint("use an empty folder with --data")
		}
	}
	return nil
}

// Lock locks the folder for this process. Kinds: Conflict (another one has it),
// Invalid, Unavailable.
func (f *Folder) Lock(ctx context.Context) (*os.File, error) {
	const op = "format.Folder"
	var lock *os.File
	err := repair.Patiently(ctx, f.Log, "the data folder's lock", func() (err error) {
		lock, err = os.OpenFile(filepath.Join(f.Data.Dir, repo.LockFile), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o640)
		return err
	})
	if err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the data folder is not writable: %s", repo.Reason(err)).Because(err)
	}
	if err := f.waitForLock(ctx, lock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// lockPause is the time from one try for the folder's lock to the next.
const lockPause = 10 * time.Millisecond

// waitForLock takes the lock, or gives up after LockWait. A git that writes
// inherits the descriptor, so an orphan of a killed server keeps the next one
// waiting here, for as long as the orphan takes to end, instead of racing it.
func (f *Folder) waitForLock(ctx context.Context, lock *os.File) error {
	const op = "format.Folder"
	begin := time.Now()
	for waiting := false; ; waiting = true {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			if waiting {
				f.Log.Info("the data folder is free now", "waited", time.Since(begin))
			}
			return nil
		case time.Since(begin) >= f.LockWait:
			return dm.Errorf(dm.Conflict, op, "the data folder is in use by another process").
				WithHint("stop the other server, or choose another folder with --data").Because(err)
		case !waiting:
			f.Log.Info("the data folder is in use by another process, waiting for it", "at_most", f.LockWait)
		}
		select {
		case <-ctx.Done():
			return dm.Errorf(dm.Unavailable, op, "interrupted while waiting for the data folder").Because(ctx.Err())
		case <-time.After(lockPause):
		}
	}
}
