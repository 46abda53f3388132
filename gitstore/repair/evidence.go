package repair

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// A ref that somebody removed or set back leaves nothing behind that looks
// broken: the version would be free again, the application would run an older
// change. What else the record knows of it tells: the file known-refs, and the
// other refs, none of which the server writes before the one that it follows
// from is durable. So evidence that a ref was there is never older than the ref.

// Finding is a ref that is not what something else proves it to have been.
type Finding struct {
	Ref string
	Why string
}

// Contradicted compares the refs of a repository with what is known of them.
func (s *Service) Contradicted(ctx context.Context, r dm.Repository, objects *repo.Objects, heads repo.Refs) ([]Finding, error) {
	var list []Finding
	for _, was := range s.Data.Known(r) {
		ok, err := explained(ctx, objects, heads, was)
		switch is := heads[was.Name]; {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", was.Name, err)
		case ok:
		case is.IsZero():
			list = append(list, Finding{was.Name, fmt.Sprintf("it is missing, %s has it at %s", repo.KnownFile, was.Hash)})
		default:
			list = append(list, Finding{was.Name, fmt.Sprintf("it is at %s, not a descendant of %s, where %s has it", is, was.Hash, repo.KnownFile)})
		}
	}
	return list, nil
}

// explained tells whether the server may have moved a ref from where it was
// known to be to where it is.
func explained(ctx context.Context, objects *repo.Objects, heads repo.Refs, was repo.KnownRef) (bool, error) {
	is := heads[was.Name]
	switch version, tag := strings.CutPrefix(was.Name, repo.TagPrefix); {
	case is == was.Hash:
		return true, nil
	case tag:
		return superseded(objects, heads, version, was.Hash)
	case strings.HasPrefix(was.Name, repo.SupersededPrefix):
		return false, nil
	}
	return LeadsTo(ctx, objects, is, was.Hash)
}

// superseded tells whether a tag of a version is kept as one that was replaced
// or withdrawn.
func superseded(objects *repo.Objects, heads repo.Refs, version string, tag plumbing.Hash) (bool, error) {
	for ref, h := range heads {
		if !strings.HasPrefix(ref, repo.SupersededPrefix+version+"/") {
			continue
		}
		if h == tag {
			return true, nil
		}
		t, err := objects.Tag(h)
		if err != nil {
			return false, err
		}
		if t.Target == tag {
			return true, nil
		}
	}
	return false, nil
}

// LeadsTo tells whether a commit is among those that another one follows.
func LeadsTo(ctx context.Context, objects *repo.Objects, from, to plumbing.Hash) (bool, error) {
	for h := from; !h.IsZero() && ctx.Err() == nil; {
		if h == to {
			return true, nil
		}
		c, err := objects.Commit(h)
		if err != nil {
			return false, err
		}
		h = form.ParentOf(c)
	}
	return false, ctx.Err()
}

// LostRef is the fault of a repository some of whose refs are not what they were;
// nil when there are none.
func LostRef(list []Finding) error {
	if len(list) == 0 {
		return nil
	}
	first := slices.MinFunc(list, func(a, b Finding) int { return strings.Compare(a.Ref, b.Ref) })
	return repo.Broken(first.Ref, "%s", first.Why)
}

// MarkAbsent takes repositories out of service that are known and not there, and
// those in whose place is a link.
func (s *Service) MarkAbsent(kind dm.RepositoryKind) error {
	there, err := os.ReadDir(filepath.Join(s.Data.Dir, string(kind)))
	if err != nil {
		return err
	}
	why := map[string]string{}
	for _, folder := range s.Data.KnownFolders(kind) {
		why[folder] = absentCause
	}
	for _, e := range there {
		if e.IsDir() {
			delete(why, e.Name())
		} else if e.Type()&fs.ModeSymlink != 0 {
			why[e.Name()] = "it is a symbolic link"
		}
	}
	for folder, cause := range why {
		enc, repository := strings.CutSuffix(folder, ".git")
		if name, ok := repo.DecodeName(enc); ok && repository {
			_ = s.takeAbsent(dm.Repository{Kind: kind, Name: name}, cause)
		}
	}
	return nil
}

// absentCause is what is wrong with a repository that is not there.
const absentCause = "it is missing, " + repo.KnownFile + " has it"

// takeAbsent takes one of them out of service, until it is there again, and
// returns why. In the place of a workspace a new one is made.
func (s *Service) takeAbsent(r dm.Repository, cause string) error {
	f := &repo.Fault{File: ".", Cause: cause}
	if r.Kind == dm.WorkspaceRepository {
		s.setAside(r, f)
		return f
	}
	if o, away := s.why(r); away && o.fault != nil && *o.fault == *f {
		return f
	}
	s.Log.Error("a repository is missing and is out of service", "kind", r.Kind, "name", r.Name, "cause", cause)
	s.takeAway(r, outOfService{fault: f, since: s.Clock().UTC()})
	s.again.ask(r, firstLook)
	return f
}
