package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	dm "github.com/pndaproject/deployment-manager"
)

// Fault is damage of a repository that its bytes prove. Nothing else takes a
// repository out of service for good: a check that could not be made, because
// descriptors, processes, memory, room or a right were missing, a disk did not
// answer or somebody lost patience, is a doubt, and a doubt is looked at again.
type Fault struct {
	File  string `json:"file"`  // below the repository's folder
	Cause string `json:"cause"` // what is wrong with it
}

func (f *Fault) Error() string { return f.File + ": " + f.Cause }

// Broken makes the error of a file whose bytes prove that it is damaged. Only
// who has read all of them may say so.
func Broken(file, format string, args ...any) error {
	return &Fault{file, dm.OneLine(fmt.Sprintf(format, args...))}
}

// Proof returns the damage that err proves; nil means that err is a doubt, or
// that there is none. A shortage beside it takes all weight from a proof.
func Proof(err error) *Fault {
	var f *Fault
	if Shortage(err) || !errors.As(err, &f) {
		return nil
	}
	return f
}

// passing are the shortages that may be over in a moment: of files, processes,
// memory, or of a disk's attention.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM, syscall.ENOBUFS, syscall.EINTR, syscall.EIO, syscall.ETIMEDOUT, syscall.EBUSY,
}

// lasting are those that an administrator ends, and being told to stop.
var lasting = []error{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ESTALE, syscall.ENODEV,
	context.Canceled, context.DeadlineExceeded,
}

// Passes tells whether err may be over in a moment.
func Passes(err error) bool {
	return slices.ContainsFunc(passing, func(known error) bool { return errors.Is(err, known) })
}

// Shortage tells whether err says that something could not be looked at. An
// error that it does not know proves no damage either, and no error of git does.
func Shortage(err error) bool {
	return Passes(err) || slices.ContainsFunc(lasting, func(known error) bool { return errors.Is(err, known) })
}

// Lost is an object that could not be found; whether it is gone, repair's survey
// tells.
type Lost struct {
	What string // commit, tree, blob or tag
	ID   string
	err  error
}

func (l *Lost) Error() string { return fmt.Sprintf("%s %s: %v", l.What, l.ID, l.err) }
func (l *Lost) Unwrap() error { return l.err }

// Failed turns an unforeseen error of the disk or of git into Unavailable, so
// that clients are told to come back, and keeps errors that say more.
func Failed(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *dm.Error
	if errors.As(err, &e) && e.Kind != dm.Internal {
		return dm.Wrap(op, err)
	}
	return dm.Errorf(dm.Unavailable, op, "storage is unavailable, try again").Because(err)
}

// DiskFault is what people are told of a failed write.
func DiskFault(err error) error {
	if err == nil {
		return nil
	}
	what := "the data folder is not writable"
	switch {
	case errors.Is(err, syscall.ENOSPC):
		what = "the disk of the data folder is full"
	case errors.Is(err, syscall.EDQUOT):
		what = "the disk quota of the data folder is exceeded"
	case errors.Is(err, syscall.EROFS):
		what = "the disk of the data folder is read-only"
	case errors.Is(err, syscall.EIO):
		what = "I/O error on the disk of the data folder"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		what = "too many open files"
	}
	return dm.Errorf(dm.Unavailable, "repo.DiskFault", "%s", what).Because(err)
}

// Reason is the last part of a file system error: it names no path.
func Reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}
