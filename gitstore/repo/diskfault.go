package repo

import (
	"errors"
	"syscall"

	dm "github.com/pndaproject/deployment-manager"
)

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
