package repair

import (
	"context"
	"errors"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// restoreRefs brings refs back that are gone or were set back, where known-refs has
// what they named and the objects are still there. A ref that names something
// else now is left to the administrator. It is only done when somebody asks.
func (s *Service) restoreRefs(ctx context.Context, r dm.Repository) error {
	release := s.Data.Hold(r)
	defer release()
	known := s.Data.Known(r)
	dir := s.Data.Path(r)
	if len(known) == 0 || !repo.Exists(dir) {
		return nil
	}
	objects := repo.Open(dir)
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, was := range known {
		ok, err := s.restorable(ctx, objects, heads, was)
		if err == nil && ok {
			err = s.returnRef(ctx, r, objects, heads, was)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// restorable tells whether a ref is not what it was, and can be that again.
func (s *Service) restorable(ctx context.Context, objects *repo.Objects, heads repo.Refs, was repo.KnownRef) (bool, error) {
	if ok, err := explained(ctx, objects, heads, was); err != nil || ok {
		return false, err
	}
	is := heads[was.Name]
	if strings.HasPrefix(was.Name, repo.TagPrefix) || strings.HasPrefix(was.Name, repo.SupersededPrefix) {
		_, err := objects.Tag(was.Hash)
		return is.IsZero() && err == nil, nil
	}
	if _, err := objects.Commit(was.Hash); err != nil {
		return false, nil
	}
	if is.IsZero() {
		return true, nil
	}
	return LeadsTo(ctx, objects, was.Hash, is)
}

// returnRef moves a ref to where it was, and with a tag the ref of its archive.
func (s *Service) returnRef(ctx context.Context, r dm.Repository, objects *repo.Objects, heads repo.Refs, was repo.KnownRef) error {
	updates := []gitcmd.RefUpdate{repo.Update(was.Name, heads[was.Name], was.Hash)}
	v, gone, err := form.DecodeTag(objects, was.Hash)
	if err != nil && gone != nil {
		return err // the upload is gone
	}
	if name := repo.Archive(v.Archive.String()); err == nil && heads[name].IsZero() {
		if path, err := pack.Find(repo.PackDir(objects.Dir), v.Archive); err == nil && path != "" {
			updates = append(updates, repo.Update(name, plumbing.ZeroHash, v.Archive))
			heads[name] = v.Archive
		}
	}
	for _, u := range updates {
		if err := s.Data.MoveRefs(ctx, objects.Dir, u); err != nil {
			return err
		}
		s.Log.Warn("a missing or rewound ref was restored", "kind", r.Kind, "name", r.Name, "ref", u.Ref, "object", u.New)
	}
	heads[was.Name] = was.Hash
	return nil
}
