package form

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Entries of the tree on an application's main.
const (
	SpecFile       = "application.json"
	PackageTree    = "package"
	ComponentsTree = "components"
)

// Change is one commit on an application's main: what somebody asked for.
type Change struct {
	dm.Stamp
	Spec        dm.Spec       // application.json
	Package     plumbing.Hash // tree of the package's files
	Components  plumbing.Hash // tree <type>/<name>/… of what people and engines get
	Deployment  int           // number of the content; 0 of a start, a stop and a destroy of before format 3
	Information string        // notes of the planner
	Overtakes   plumbing.Hash // the change before, which waited and was given up
	Pushed      plumbing.Hash // the commit that a push proposed; it is the last parent, and none of the record's
	Before      plumbing.Hash // zero for the first

	Commit, Tree plumbing.Hash // their names, which Encode fills in
	Size         int           // of application.json in bytes, likewise
}

// Encode adds application.json, the tree and the commit to w.
func (c *Change) Encode(w repo.Adder) error {
	file, err := ApplicationFile(c.Spec)
	if err != nil {
		return err
	}
	blob, err := w.Add(plumbing.BlobObject, file)
	if err != nil {
		return err
	}
	c.Size = len(file)
	top := repo.NewTree()
	top.Set(SpecFile, filemode.Regular, repo.Known(blob))
	top.Set(PackageTree, filemode.Dir, repo.Known(c.Package))
	if c.Components != repo.EmptyTree {
		top.Set(ComponentsTree, filemode.Dir, repo.Known(c.Components))
	}
	if c.Tree, err = top.Write(w); err != nil {
		return err
	}
	parents := []plumbing.Hash{c.Before}
	if !c.Pushed.IsZero() {
		if c.Before.IsZero() {
			if parents[0], err = addBeginning(w); err != nil {
				return err
			}
		}
		parents = append(parents, c.Pushed)
	}
	message := append(stampTrailers(c.Stamp), trailers{
		{trailerPackage, c.Spec.Package.String()},
		{trailerDeployment, numberText(c.Deployment)},
		{trailerInformation, c.Information},
		{trailerOvertakes, hashText(c.Overtakes)},
		{trailerPushed, hashText(c.Pushed)},
	}...).message(ChangeSubject(c.Spec, c.Verb))
	c.Commit, err = AddCommit(w, person(c.Stamp), c.Tree, message, parents...)
	return err
}

// DecodeChange is the inverse of Encode.
func DecodeChange(objects *repo.Objects, h plumbing.Hash) (Change, error) {
	commit, err := objects.Commit(h)
	if err != nil {
		return Change{}, err
	}
	c := ParseChange(commit)
	file, err := objects.File(c.Tree, SpecFile)
	if err != nil {
		return c, err
	}
	c.Spec, c.Size = dm.Spec{}, len(file)
	if err := json.Unmarshal(file, &c.Spec); err != nil {
		return c, repo.Broken(repo.Main, "%s at %s: %v", SpecFile, h, err)
	}
	e, err := objects.Entry(c.Tree, PackageTree)
	if err != nil {
		return c, err
	}
	c.Package, c.Components = e.Hash, repo.EmptyTree
	switch e, err := objects.Entry(c.Tree, ComponentsTree); {
	case err == nil:
		c.Components = e.Hash
	case !errors.Is(err, object.ErrEntryNotFound):
		return c, err
	}
	return c, nil
}

// ParseChange reads what the message alone says. Of Spec that is the package.
func ParseChange(commit *object.Commit) Change {
	said := ParseTrailers(commit.Message)
	c := Change{
		Stamp: parseStamp(said, commit.Author), Information: said[trailerInformation],
		Overtakes: plumbing.NewHash(said[trailerOvertakes]), Pushed: plumbing.NewHash(said[trailerPushed]),
		Before: ParentOf(commit), Commit: commit.Hash, Tree: commit.TreeHash,
	}
	// Zero when damaged; verify tells.
	c.Spec.Package, _ = dm.ParsePackageRef(said[trailerPackage])
	c.Deployment, _ = strconv.Atoi(said[trailerDeployment])
	return c
}

// Made is the number of the deployment that the change made, 0 for none.
func (c *Change) Made() int {
	if !c.Verb.MakesDeployment() {
		return 0
	}
	return c.Deployment
}

// ApplicationFile is the content of application.json.
func ApplicationFile(spec dm.Spec) ([]byte, error) {
	if spec.Overrides == nil {
		spec.Overrides = dm.Overrides{}
	}
	b, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode application.json: %w", err)
	}
	return append(b, '\n'), nil
}

// ChangeSubject is the first line of a change's commit, and what a push is told.
func ChangeSubject(spec dm.Spec, verb dm.Verb) string {
	first := min(1, len(verb)) // a damaged one may be empty
	words := strings.ToUpper(string(verb[:first])) + string(verb[first:])
	if verb == dm.Rollback {
		words = "Roll back"
	}
	subject := words + " " + string(spec.Name)
	switch verb {
	case dm.Create:
		subject += " from " + spec.Package.String()
	case dm.Change, dm.Rollback:
		subject += " to " + spec.Package.String()
	}
	return subject
}
