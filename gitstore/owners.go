package gitstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// PackageOwner implements dm.Owners.
func (s *Store) PackageOwner(name dm.PackageName) dm.UserName {
	if e := s.index.pkg(name); e != nil {
		return e.owner
	}
	return ""
}

// admitPackage asks admission for a change of what the repository offers.
func (s *Store) admitPackage(ctx context.Context, actor dm.Actor, verb dm.Verb, ref dm.PackageRef) error {
	_, err := s.Admission.Admit(ctx, dm.Proposal{Actor: actor, Verb: verb, Package: ref, PackageOwner: s.PackageOwner(ref.Name)})
	return err
}

// stillUsed refuses other bytes under the number of a version that was withdrawn:
// who has the number in hand must never get something else for it.
func (e *packageEntry) stillUsed(file dm.PackageFile, digest string) error {
	old, withdrawn := e.withdrawn[file.Ref.Version]
	if !withdrawn || old.digest == digest {
		return nil
	}
	return dm.Errorf(dm.Conflict, "gitstore.Publish", "%s was withdrawn, and its number accepts only the same bytes again", file.Ref).
		WithHint("publish the change under a new version number")
}

// readPast reads who owns the package and which versions were withdrawn. The
// owner is who published first: by the order of the commits, because a clock can
// have been wrong.
func (e *packageEntry) readPast(objects *repo.Objects, name dm.PackageName, heads repo.Refs) error {
	people := map[dm.UserName]bool{}
	for _, v := range e.versions {
		people[v.by] = true
	}
	last := map[dm.Version]int{}
	e.withdrawn = map[dm.Version]versionEntry{}
	for ref, h := range heads {
		text, ok := strings.CutPrefix(ref, repo.SupersededPrefix)
		if !ok {
			continue
		}
		v, n, err := readSuperseded(objects, name, text, h)
		if err != nil {
			return err
		}
		people[v.by] = true
		if _, published := e.version(v.file.Ref.Version); !published && n > last[v.file.Ref.Version] {
			last[v.file.Ref.Version], e.withdrawn[v.file.Ref.Version] = n, v
		}
	}
	if len(people) == 1 {
		for e.owner = range people {
			return nil
		}
	}
	return e.readOwner(objects)
}

// readSuperseded reads the version behind refs/superseded/<version>/<n>.
func readSuperseded(objects *repo.Objects, name dm.PackageName, text string, h plumbing.Hash) (v versionEntry, n int, err error) {
	number, place, _ := strings.Cut(text, "/")
	version, err := dm.ParseVersion(number)
	if err == nil {
		n, err = strconv.Atoi(place)
	}
	if err != nil {
		return v, 0, fmt.Errorf("%w: %s%s", repo.ErrBadRef, repo.SupersededPrefix, text)
	}
	u, _, err := form.DecodeVersion(objects, dm.PackageRef{Name: name, Version: version}, h)
	return newVersionEntry(u), n, err
}

// readOwner follows main to the first upload.
func (e *packageEntry) readOwner(objects *repo.Objects) error {
	for h := e.main; !h.IsZero(); {
		c, err := objects.Commit(h)
		if err != nil {
			return err
		}
		v := form.ParseVersion(c)
		e.owner, h = v.User, v.Before
	}
	return nil
}
