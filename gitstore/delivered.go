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
	if of.Commit.IsZero() || coming && of.Spec.State == dm.WantDestroyed || !fs.ValidPath(f.Path) {
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
	return &delivering{file, info.Size(), func() { s.service.Suspect(r) }}, info.Size(), nil
}

// delivering is a file that must come whole. What can't be read is looked at.
type delivering struct {
	file    fs.File
	left    int64
	suspect func()
}

func (d *delivering) Close() error { return d.file.Close() }

func (d *delivering) Read(p []byte) (int, error) {
	n, err := d.file.Read(p)
	d.left -= int64(n)
	switch {
	case err == nil, errors.Is(err, io.EOF) && d.left == 0:
		return n, err
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	d.suspect()
	return n, repo.Failed("gitstore.delivering", err)
}

// SpoolFolder is for files that are on their way through the server. It is emptied at
// each start.
func (s *Store) SpoolFolder() string { return s.data.Temporary() }
