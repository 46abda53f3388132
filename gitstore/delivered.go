package gitstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

var _ dm.Delivered = (*Store)(nil)

// OpenDelivered implements dm.Delivered.
func (s *Store) OpenDelivered(_ context.Context, f dm.DeliveredFile, coming bool) (io.ReadCloser, int64, error) {
	const op = "gitstore.OpenDelivered"
	missing := dm.Errorf(dm.NotFound, op, "the application %s delivers no such file", f.Application)
	r := repo.Application(f.Application)
	if err := s.service.Sound(r); err != nil {
		return nil, 0, err
	}
	e := s.index.Application(f.Application)
	if e == nil || coming && !e.Working() {
		return nil, 0, missing
	}
	of := e.Effective
	if coming {
		of = e.Desired
	}
	if of.Commit.IsZero() {
		return nil, 0, missing
	}
	file, err := treefs.New(repo.Open(s.data.Path(r)), of.Components).Open(path.Join(string(f.Type), string(f.Component), f.Path))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, 0, missing
	}
	if err != nil {
		s.service.Suspect(r)
		return nil, 0, repo.Failed(op, err)
	}
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		return nil, 0, errors.Join(missing, file.Close())
	}
	return file, info.Size(), nil
}

// SpoolFolder is for files that are on their way through the server. It is emptied at
// each start.
func (s *Store) SpoolFolder() string { return s.data.Temporary() }
