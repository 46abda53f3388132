package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// errUnmended says that the record holds nothing to mend a repository from.
var errUnmended = errors.New("the record has no other copy")

// mended is err, unless it proves damage that can be mended from the rest of the
// record: then the repository is looked at again. Workspaces are made
// anew instead. The caller holds the repository's lock, or is alone.
func (s *Service) mended(ctx context.Context, r dm.Repository, err error, again func() error) error {
	for range mostMends {
		f := repo.Proof(err)
		if f == nil || r.Kind == dm.WorkspaceRepository {
			return err
		}
		s.Log.Warn("a repository is damaged", "kind", r.Kind, "name", r.Name, "file", f.File, "cause", f.Cause)
		if failed := s.mend(ctx, r, s.Data.Path(r)); failed != nil {
			if !errors.Is(failed, errUnmended) {
				s.Log.Error("a damaged repository could not be repaired", "kind", r.Kind, "name", r.Name, "err", failed)
			}
			return err
		}
		if err = again(); err == nil {
			s.Log.Info("a damaged repository was repaired", "kind", r.Kind, "name", r.Name)
		}
	}
	return err
}

// mostMends bounds the rounds: a tree that comes back may name others that are
// missing.
const mostMends = 8

// mend brings back what a repository has lost and the record has elsewhere. It
// returns nil when it has changed something.
func (s *Service) mend(ctx context.Context, r dm.Repository, dir string) error {
	changed, err := s.MendPacks(ctx, r, dir)
	if err != nil || changed {
		return err
	}
	names, err := s.missing(ctx, dir)
	if err != nil {
		return err
	}
	_, err = s.refill(ctx, r, dir, names)
	return err
}

// MendPacks makes broken indexes anew, and takes packs that are broken or gone
// from their twins, or their objects from wherever they are.
func (s *Service) MendPacks(ctx context.Context, r dm.Repository, dir string) (changed bool, err error) {
	if _, err := repo.DropDerived(dir); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(repo.PackDir(dir))
	if err != nil {
		return false, err
	}
	bases := map[string]bool{}
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".idx"); ok && strings.HasPrefix(base, "pack-") {
			bases[base] = true
		}
	}
	for base := range bases {
		did, err := s.mendPack(ctx, r, dir, filepath.Join(repo.PackDir(dir), base+".pack"))
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

// mendPack mends one pack.
func (s *Service) mendPack(ctx context.Context, r dm.Repository, dir, path string) (changed bool, err error) {
	switch err := pack.CheckAlone(path); {
	case err == nil:
		_, err := pack.Check(path)
		if !pack.IsBroken(err) {
			return false, err
		}
		return true, s.Data.Git.IndexPack(ctx, dir, path)
	case !pack.IsBroken(err) && !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	if twin := s.twin(path); twin != "" {
		s.Log.Warn("a pack is taken from another repository", "kind", r.Kind, "name", r.Name, "pack", filepath.Base(path), "from", filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(twin)))))
		return true, pack.Replace(twin, path)
	}
	objects, err := pack.Names(path)
	if err != nil {
		return false, err
	}
	names := map[plumbing.Hash]struct{}{}
	for _, h := range objects {
		names[h] = struct{}{}
	}
	made, err := s.refill(ctx, r, dir, names)
	if err != nil || pack.Path(repo.PackDir(dir), made.Name) == path {
		return err == nil, err
	}
	return true, repo.RemovePacks([]string{path})
}

// twin finds a sound pack of the same name.
func (s *Service) twin(path string) string {
	is, _ := os.Stat(path)
	found, _ := filepath.Glob(filepath.Join(s.Data.Dir, "*", "*.git", "objects", "pack", filepath.Base(path)))
	found = append(found, filepath.Join(repo.PackDir(s.Data.Path(repo.Blank)), filepath.Base(path)))
	for _, other := range found {
		info, err := os.Stat(other)
		if err != nil || is != nil && os.SameFile(is, info) || strings.HasPrefix(other, s.Data.Temporary()+"/") {
			continue
		}
		if _, err := pack.Check(other); err == nil {
			return other
		}
	}
	return ""
}

// missing names the objects that refs lead to and no file holds.
func (s *Service) missing(ctx context.Context, dir string) (map[plumbing.Hash]struct{}, error) {
	v := &survey{dir: dir, names: map[plumbing.Hash]struct{}{}}
	if err := v.packs(); err != nil {
		return nil, err
	}
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return nil, err
	}
	lines, err := s.Data.Git.Fsck(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	wanted := make([]string, 0, len(heads))
	for _, h := range heads {
		wanted = append(wanted, h.String())
	}
	for _, line := range lines {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "missing" {
			wanted = append(wanted, words[2])
		}
	}
	names := map[plumbing.Hash]struct{}{}
	for _, id := range wanted {
		h := plumbing.NewHash(id)
		gone, err := v.lacks(h)
		if err != nil {
			return nil, err
		}
		if gone {
			names[h] = struct{}{}
		}
	}
	return names, nil
}

// refill writes the objects called names into a new pack of the repository in
// dir. They come from the repository itself, as far as they can be read there,
// from its archives, and from other repositories.
func (s *Service) refill(ctx context.Context, r dm.Repository, dir string, names map[plumbing.Hash]struct{}) (made pack.Pack, err error) {
	if len(names) == 0 {
		return made, errUnmended
	}
	w, err := s.Data.NewPack(dir, nil)
	if err != nil {
		return made, err
	}
	defer w.Abort()
	left := map[plumbing.Hash]struct{}{}
	own := repo.Open(dir)
	for h := range names {
		if err := own.CopyTo(w, h); err != nil {
			left[h] = struct{}{}
		}
	}
	if len(left) > 0 && r.Kind == dm.PackageRepository {
		s.fromArchives(ctx, dir, left, w)
	}
	for h := range left {
		if ctx.Err() != nil {
			return made, ctx.Err()
		}
		if !s.fromElsewhere(w, dir, h) {
			return made, fmt.Errorf("%w of the object %s", errUnmended, h)
		}
	}
	if err := w.Flush(); err != nil {
		return made, err
	}
	for h := range names {
		if !w.Has(h) {
			return made, fmt.Errorf("%w of the object %s", errUnmended, h)
		}
	}
	return w.Commit(repo.KeptMended)
}

// fromElsewhere copies an object from any other repository that has it.
func (s *Service) fromElsewhere(w *pack.Writer, dir string, h plumbing.Hash) bool {
	others := []string{s.Data.Path(repo.Blank)}
	for _, kind := range s.Data.Many() {
		names, _ := s.Data.Names(kind)
		for _, name := range names {
			others = append(others, s.Data.Path(dm.Repository{Kind: kind, Name: name}))
		}
	}
	return slices.ContainsFunc(others, func(other string) bool {
		if other == dir {
			return false
		}
		_, err := pack.Find(repo.PackDir(other), h)
		return err == nil && repo.Open(other).CopyTo(w, h) == nil
	})
}
