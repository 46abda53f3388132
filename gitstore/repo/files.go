package repo

import (
	"errors"
	"io/fs"
	"syscall"
)

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
