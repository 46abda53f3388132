package sync

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// disk changes files. Every change is told before it is made, so that a test can
// end the program there, or let it fail.
type disk struct {
	before func(change string) error // nil tells nobody
	owner  *owner                    // who gets what is made, when it is not who makes it
}

func (d *disk) may(change string) error {
	if d.before == nil {
		return nil
	}
	return d.before(change)
}

// dir is an open folder. Its methods take single names, never a path, and follow no
// link, so nothing outside is ever reached.
type dir struct {
	*disk
	fd int
}

func openRoot(d *disk, path string) (dir, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return dir{d, fd}, err
}

func (d dir) close() { _ = unix.Close(d.fd) } // nothing was written through it

// sub opens a folder of the folder.
func (d dir) sub(name string) (dir, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return dir{d.disk, fd}, err
}

// needed opens a folder of the folder, which it makes when it is missing.
func (d dir) needed(name string) (dir, error) {
	in, err := d.sub(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return in, err
	}
	if err := d.may("mkdir"); err != nil {
		return in, err
	}
	if err := unix.Mkdirat(d.fd, name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return in, err
	}
	d.give(name)
	return d.sub(name)
}

func (d dir) stat(name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// open opens a regular file for reading; of others it says so.
func (d dir) open(name string) (*os.File, int64, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = unix.EINVAL
	}
	if err != nil {
		_ = f.Close() // nothing was read
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// create makes a new file for writing.
func (d dir) create(name string, mode uint32) (*os.File, error) {
	if err := d.may("create"); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, err
	}
	d.give(name)
	return os.NewFile(uintptr(fd), name), nil
}

// append adds text to a file of our own or of git's, as a line of its own.
func (d dir) append(name, text string) error {
	if err := d.may("append"); err != nil {
		return err
	}
	fd, err := unix.Openat(d.fd, name, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	d.give(name)
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = unix.EINVAL
	}
	last := []byte{'\n'}
	if err == nil && info.Size() > 0 {
		_, err = f.ReadAt(last, info.Size()-1)
	}
	if err == nil && last[0] != '\n' {
		text = "\n" + text
	}
	if err == nil {
		_, err = f.WriteString(text)
	}
	return errors.Join(err, f.Close())
}

// names lists the folder.
func (d dir) names() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d dir) remove(name string) error {
	if err := d.may("unlink"); err != nil {
		return err
	}
	return unix.Unlinkat(d.fd, name, 0)
}

func (d dir) removeFolder(name string) error {
	if err := d.may("rmdir"); err != nil {
		return err
	}
	return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
}

// replace moves a file of ours, over another one of ours.
func (d dir) replace(from string, to dir, name string) error {
	if err := d.may("rename"); err != nil {
		return err
	}
	return unix.Renameat(d.fd, from, to.fd, name)
}

// exchange has two names change places in one moment. errors.ErrUnsupported tells
// that the disk or the kernel can't.
func (d dir) exchange(from string, to dir, name string) error {
	if err := d.may("exchange"); err != nil {
		return unsupported(err)
	}
	return unsupported(unix.Renameat2(d.fd, from, to.fd, name, unix.RENAME_EXCHANGE))
}

// move gives a file another place, where nothing may be: not by a rename that the
// disk guards, nor by a link where it knows these only. Some network disks know
// neither: they look first, which leaves a moment for somebody else.
func (d dir) move(from string, to dir, name string) error {
	err := d.may("move")
	if err == nil {
		err = unix.Renameat2(d.fd, from, to.fd, name, unix.RENAME_NOREPLACE)
	}
	if unsupported(err) != errors.ErrUnsupported {
		return err
	}
	if err = d.may("link"); err == nil {
		err = unix.Linkat(d.fd, from, to.fd, name, 0)
	}
	switch {
	case err == nil:
		return d.remove(from)
	case !slices.Contains([]error{unix.EPERM, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EMLINK}, err):
		return err
	}
	if _, err := to.stat(name); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	return d.replace(from, to, name)
}

// unsupported tells apart what the disk can't do from what it would not.
func unsupported(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return errors.ErrUnsupported
	}
	return err
}

// full tells that there is no room: a full disk or a quota.
func full(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}
