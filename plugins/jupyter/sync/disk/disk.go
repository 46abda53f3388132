package disk

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Disk changes files. Every change is told before it is made, so that a test can
// end the program there, or let it fail.
type Disk struct {
	Before func(change string) error // nil tells nobody
	Owner  *owner                    // who gets what is made, when it is not who makes it
}

// May tells of a change that is about to be made. An error is given instead of it.
func (d *Disk) May(change string) error {
	if d.Before == nil {
		return nil
	}
	return d.Before(change)
}

// Dir is an open folder. Its methods take single names, never a path, and follow no
// link, so nothing outside is ever reached.
type Dir struct {
	*Disk
	Fd int
}

// Open opens a folder by its path, of which every link was followed before.
func Open(d *Disk, path string) (Dir, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return Dir{d, fd}, err
}

// Close closes the folder; nothing was written through it.
func (d Dir) Close() { _ = unix.Close(d.Fd) }

// Sub opens a folder of the folder.
func (d Dir) Sub(name string) (Dir, error) {
	fd, err := unix.Openat(d.Fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return Dir{d.Disk, fd}, err
}

// Needed opens a folder of the folder, which it makes when it is missing.
func (d Dir) Needed(name string) (Dir, error) {
	in, err := d.Sub(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return in, err
	}
	if err := d.May("mkdir"); err != nil {
		return in, err
	}
	if err := unix.Mkdirat(d.Fd, name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return in, err
	}
	d.Give(name)
	return d.Sub(name)
}

// Stat looks at a name, and at a link itself.
func (d Dir) Stat(name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(d.Fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// Open opens a regular file for reading; of others it says so.
func (d Dir) Open(name string) (*os.File, int64, error) {
	fd, err := unix.Openat(d.Fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
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

// Create makes a new file for writing.
func (d Dir) Create(name string, mode uint32) (*os.File, error) {
	if err := d.May("create"); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.Fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, err
	}
	d.Give(name)
	return os.NewFile(uintptr(fd), name), nil
}

// Append adds text to a file of our own or of git's, as a line of its own.
func (d Dir) Append(name, text string) error {
	if err := d.May("append"); err != nil {
		return err
	}
	fd, err := unix.Openat(d.Fd, name, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	d.Give(name)
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

// Names lists the folder.
func (d Dir) Names() ([]string, error) {
	fd, err := unix.Openat(d.Fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}

// Remove deletes a file.
func (d Dir) Remove(name string) error {
	if err := d.May("unlink"); err != nil {
		return err
	}
	return unix.Unlinkat(d.Fd, name, 0)
}

// RemoveFolder deletes a folder in which nothing is.
func (d Dir) RemoveFolder(name string) error {
	if err := d.May("rmdir"); err != nil {
		return err
	}
	return unix.Unlinkat(d.Fd, name, unix.AT_REMOVEDIR)
}

// Replace moves a file of ours, over another one of ours.
func (d Dir) Replace(from string, to Dir, name string) error {
	if err := d.May("rename"); err != nil {
		return err
	}
	return unix.Renameat(d.Fd, from, to.Fd, name)
}

// Exchange has two names change places in one moment. errors.ErrUnsupported tells
// that the disk or the kernel can't.
func (d Dir) Exchange(from string, to Dir, name string) error {
	if err := d.May("exchange"); err != nil {
		return unsupported(err)
	}
	return unsupported(unix.Renameat2(d.Fd, from, to.Fd, name, unix.RENAME_EXCHANGE))
}

// Move gives a file another place, where nothing may be: not by a rename that the
// disk guards, nor by a link where it knows these only. Some network disks know
// neither: they look first, which leaves a moment for somebody else.
func (d Dir) Move(from string, to Dir, name string) error {
	err := d.May("move")
	if err == nil {
		err = unix.Renameat2(d.Fd, from, to.Fd, name, unix.RENAME_NOREPLACE)
	}
	if unsupported(err) != errors.ErrUnsupported {
		return err
	}
	if err = d.May("link"); err == nil {
		err = unix.Linkat(d.Fd, from, to.Fd, name, 0)
	}
	switch {
	case err == nil:
		return d.Remove(from)
	case !slices.Contains([]error{unix.EPERM, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EMLINK}, err):
		return err
	}
	if _, err := to.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	return d.Replace(from, to, name)
}

// Sweep removes all files of the folder.
func (d Dir) Sweep() error {
	names, err := d.Names()
	for _, name := range names {
		err = errors.Join(err, d.Remove(name))
	}
	return err
}

// unsupported tells apart what the disk can't do from what it would not.
func unsupported(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return errors.ErrUnsupported
	}
	return err
}

// Full tells that there is no room: a full disk or a quota.
func Full(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}
