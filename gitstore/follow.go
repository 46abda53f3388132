package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Newest implements dm.Events.
func (s *Store) Newest() uint64 { return s.stream.Newest() }

// Events implements dm.Events.
func (s *Store) Events(ctx context.Context, after uint64, most int) ([]dm.Event, error) {
	return s.stream.Events(ctx, after, most)
}

// Concerns implements dm.Events.
func (s *Store) Concerns(e dm.Event) dm.Resource { return s.stream.Concerns(e) }

// Cursor implements dm.Cursors.
func (s *Store) Cursor(name string) (seq uint64, ok bool, err error) {
	seq, ok, err = s.cursors.Read(name)
	return seq, ok, repo.Failed("gitstore.Cursor", err)
}

// KeepCursor implements dm.Cursors.
func (s *Store) KeepCursor(name string, seq uint64) error {
	return repo.Failed("gitstore.KeepCursor", s.cursors.Keep(name, seq))
}
