package disk

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
	"golang.org/x/sys/unix"
)

// owner is who a home belongs to.
type owner struct{ Uid, Gid int }

// Become makes the process the owner of the home, when root runs it: images that let
// people use sudo start as root. Where it may not, what is made is given to the
// owner instead. What an earlier run as root has left behind goes to the owner too.
func (d *Disk) Become(folder string) error {
	if unix.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	err := unix.Stat(filepath.Dir(folder), &st)
	for at := filepath.Dir(folder); errors.Is(err, fs.ErrNotExist) && at != "/"; err = unix.Stat(at, &st) {
		at = filepath.Dir(at)
	}
	if err == nil && st.Uid == 0 {
		// Volumes are root's, and a group may write there: then the folder's owner counts.
		if err := unix.Stat(folder, &st); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil || st.Uid == 0 {
		return err
	}
	d.Owner = &owner{int(st.Uid), int(st.Gid)}
	if err := d.Adopt(folder, false); err != nil {
		return err
	}
	// All threads change, not this one only.
	if syscall.Setgroups(nil) == nil && syscall.Setgid(d.Owner.Gid) == nil && syscall.Setuid(d.Owner.Uid) == nil {
		d.Owner = nil
	}
	return nil
}

// Give hands what was made to the home's owner. Where that is refused, as a share
// may do that maps all to one user, it stays as it is.
func (d Dir) Give(name string) {
	if d.Owner != nil {
		_ = unix.Fchownat(d.Fd, name, d.Owner.Uid, d.Owner.Gid, unix.AT_SYMLINK_NOFOLLOW)
	}
}

// Adopt gives the owner a folder and all in it that belongs to root, when the folder
// itself does, or with all in any case.
func (d *Disk) Adopt(folder string, all bool) error {
	parent, err := Open(d, filepath.Dir(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(folder)
	if st, err := parent.Stat(name); err != nil || st.Uid != 0 && !all {
		return nil // nothing is there, or it is as it should be
	}
	return parent.adopt(name, 0)
}

func (d Dir) adopt(name string, depth int) error {
	fd, err := unix.Openat(d.Fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // gone meanwhile
	}
	in := Dir{d.Disk, fd}
	defer in.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if depth > 0 && d.mounted(fd, st.Dev) {
		return nil // a volume in the folder is others' too
	}
	folder := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if folder && depth <= remote.MaxDepth {
		names, err := in.Names()
		for _, name := range names {
			err = errors.Join(err, in.adopt(name, depth+1))
		}
		if err != nil {
			return err
		}
	}
	// The folder comes after what is in it, so that a run which was killed goes on
	// there. A file with several names may be another one's as well, and stays.
	if st.Uid == 0 && (folder || st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1) {
		_ = unix.Fchownat(fd, "", d.Owner.Uid, d.Owner.Gid, unix.AT_EMPTY_PATH) // a share may refuse that maps all to one user
	}
	return nil
}

// mounted tells whether something that lies in the folder is mounted there.
func (d Dir) mounted(fd int, dev uint64) bool {
	var above unix.Stat_t
	var x unix.Statx_t // also tells of a folder of the same disk, from Linux 5.8 on
	return unix.Fstat(d.Fd, &above) != nil || above.Dev != dev ||
		unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, &x) == nil && x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
