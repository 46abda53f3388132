package gitstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Limits of a difference. What lies above is counted, or said to be cut off.
const (
	maxDiffFiles  = 1000
	maxPatchBytes = 4 << 20
	maxPatchLines = 100_000
)

// ApplicationDiff implements dm.History. Files are those that people and
// engines get, below components/, and those of the package, below package/;
// what application.json says is told by the sides and the overrides. The patch
// has all three.
func (s *Store) ApplicationDiff(ctx context.Context, app dm.ApplicationName, from, to int) (dm.Difference, error) {
	const op = "gitstore.ApplicationDiff"
	leave, err := s.gates.readers.Enter(ctx)
	if err != nil {
		return dm.Difference{}, err
	}
	defer leave()
	var revisions [2]dm.Revision
	err = s.withApplicationPast(ctx, op, app, func(p *applicationPast) (err error) {
		if from, to, err = p.numbers(op, app, from, to); err != nil {
			return err
		}
		for i, n := range [...]int{from, to} {
			revisions[i] = p.changes[p.deployments[n]].Revision
		}
		return nil
	})
	if err != nil {
		return dm.Difference{}, err
	}
	dir := s.data.Path(repo.Application(app))
	objects := repo.Open(dir)
	var content [2]contentEntry
	for i, r := range revisions {
		if content[i], _, err = readContent(objects, plumbing.NewHash(string(r))); err != nil {
			return dm.Difference{}, repo.Failed(op, err)
		}
	}
	d, err := applicationDifference(ctx, objects, content)
	if err != nil {
		return d, repo.Failed(op, err)
	}
	trees := [2]plumbing.Hash{content[0].tree, content[1].tree}
	d.WritePatch = s.patch(dir, trees, fmt.Sprintf("deployment-%d/", from), fmt.Sprintf("deployment-%d/", to))
	return d, nil
}

// numbers fills in the defaults of a comparison and checks that there are such
// deployments.
func (p *applicationPast) numbers(op string, app dm.ApplicationName, from, to int) (int, int, error) {
	if from < 0 || to < 0 {
		return 0, 0, dm.Errorf(dm.Invalid, op, "the number of a deployment is 1 or more")
	}
	if to == 0 {
		to = p.newest
	}
	if from == 0 {
		if from = to - 1; from == 0 {
			return 0, 0, dm.Errorf(dm.Invalid, op, "deployment 1 of %s is the first, there is none before it to compare it with", app)
		}
	}
	for _, n := range [...]int{to, from} {
		if _, ok := p.deployments[n]; !ok {
			return 0, 0, noDeployment(dm.NotFound, op, app, n, p.newest)
		}
	}
	return from, to, nil
}

// noDeployment says which numbers there are instead of n.
func noDeployment(kind dm.Kind, op string, app dm.ApplicationName, n, newest int) *dm.Error {
	return dm.Errorf(kind, op, "%s has no deployment %d", app, n).WithHint("its deployments are numbered 1 to %d", newest)
}

// applicationDifference compares the contents of two deployments.
func applicationDifference(ctx context.Context, objects *repo.Objects, content [2]contentEntry) (d dm.Difference, err error) {
	side := func(c contentEntry) dm.Side {
		return dm.Side{Deployment: c.deployment, Revision: dm.Revision(c.commit.String()), Package: c.spec.Package, Audience: c.spec.Audience}
	}
	d.From, d.To = side(content[0]), side(content[1])
	if d.Overrides, err = overrideChanges(content[0].spec.Overrides, content[1].spec.Overrides); err != nil {
		return d, err
	}
	t := treeDiff{objects: objects}
	// By path in byte order.
	if err := t.compare(ctx, form.ComponentsTree+"/", content[0].components, content[1].components); err != nil {
		return d, err
	}
	if err := t.compare(ctx, form.PackageTree+"/", content[0].packageTree, content[1].packageTree); err != nil {
		return d, err
	}
	d.Files, d.FilesMore = t.files, t.more
	return d, nil
}

// PackageDiff implements dm.History.
func (s *Store) PackageDiff(ctx context.Context, name dm.PackageName, from, to dm.Version) (dm.Difference, error) {
	const op = "gitstore.PackageDiff"
	leave, err := s.gates.readers.Enter(ctx)
	if err != nil {
		return dm.Difference{}, err
	}
	defer leave()
	r := repo.Package(name)
	if err := s.service.Sound(r); err != nil {
		return dm.Difference{}, err
	}
	entry := s.index.pkg(name)
	if entry == nil || len(entry.versions) == 0 {
		return dm.Difference{}, dm.Errorf(dm.NotFound, op, "there is no published version of %s", name)
	}
	var sides [2]versionEntry
	for i, v := range [...]dm.Version{from, to} {
		var ok bool
		if sides[i], ok = entry.version(v); !ok {
			return dm.Difference{}, dm.Errorf(dm.NotFound, op, "there is no published version %s of %s", v, name).
				WithHint("published are %s", entry.list())
		}
	}
	side := func(v versionEntry) dm.Side {
		return dm.Side{Revision: dm.Revision(v.tag.String()), Package: v.file.Ref}
	}
	d := dm.Difference{From: side(sides[0]), To: side(sides[1])}
	dir := s.data.Path(r)
	t := treeDiff{objects: repo.Open(dir)}
	if err := t.compare(ctx, "", sides[0].tree, sides[1].tree); err != nil {
		return d, repo.Failed(op, err)
	}
	d.Files, d.FilesMore = t.files, t.more
	d.WritePatch = s.patch(dir, [2]plumbing.Hash{sides[0].tree, sides[1].tree}, d.From.Package.String()+"/", d.To.Package.String()+"/")
	return d, nil
}

// listedVersions is how many versions a hint names.
const listedVersions = 10

// list names the newest versions for a hint.
func (e *packageEntry) list() string {
	var names []string
	for _, v := range e.versions[:min(len(e.versions), listedVersions)] {
		names = append(names, v.file.Ref.Version.String())
	}
	if len(e.versions) > listedVersions {
		names = append(names, "and older ones")
	}
	return strings.Join(names, ", ")
}

// overrideChanges lists the overrides that differ. Values are compared as JSON
// without its spaces, because application.json is written with them.
func overrideChanges(from, to dm.Overrides) ([]dm.OverrideChange, error) {
	before, err := flatten(from)
	if err != nil {
		return nil, err
	}
	after, err := flatten(to)
	if err != nil {
		return nil, err
	}
	var list []dm.OverrideChange
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for k := range keys {
		old, had := before[k]
		now, has := after[k]
		if had == has && bytes.Equal(old, now) {
			continue
		}
		c := dm.OverrideChange{Type: k.t, Component: k.component, Key: k.key}
		if had {
			c.From = old
		}
		if has {
			c.To = now
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b dm.OverrideChange) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Key, b.Key))
	})
	return list, nil
}

type overrideKey struct {
	t         dm.ComponentType
	component dm.ComponentName
	key       string
}

func flatten(o dm.Overrides) (map[overrideKey]json.RawMessage, error) {
	flat := map[overrideKey]json.RawMessage{}
	for t, components := range o {
		for component, properties := range components {
			for key, value := range properties {
				var b bytes.Buffer
				if err := json.Compact(&b, value); err != nil {
					return nil, fmt.Errorf("the override %s/%s/%s: %w", t, component, key, err)
				}
				flat[overrideKey{t, component, key}] = b.Bytes()
			}
		}
	}
	return flat, nil
}

// treeDiff collects the files that differ between two trees. It opens only the
// folders that differ, and its order is that of the paths' bytes.
type treeDiff struct {
	objects *repo.Objects
	files   []dm.FileChange
	more    int
}

// compare compares two trees whose path is prefix.
func (d *treeDiff) compare(ctx context.Context, prefix string, from, to plumbing.Hash) error {
	if from == to {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	before, err := d.entries(from)
	if err != nil {
		return err
	}
	after, err := d.entries(to)
	if err != nil {
		return err
	}
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		old, had := before[key]
		now, has := after[key]
		if had == has && old.Hash == now.Hash && old.Mode == now.Mode {
			continue
		}
		if strings.HasSuffix(key, "/") {
			err = d.compare(ctx, prefix+key, orEmpty(old, had), orEmpty(now, has))
		} else {
			err = d.file(prefix+key, old, now, had, has)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func orEmpty(e object.TreeEntry, there bool) plumbing.Hash {
	if !there {
		return repo.EmptyTree
	}
	return e.Hash
}

// entries reads a tree; the key of a folder ends in '/', so a file and a folder
// of one name are two things.
func (d *treeDiff) entries(tree plumbing.Hash) (map[string]object.TreeEntry, error) {
	t, err := d.objects.Tree(tree)
	if err != nil {
		return nil, err
	}
	entries := make(map[string]object.TreeEntry, len(t.Entries))
	for _, e := range t.Entries {
		key := e.Name
		if e.Mode == filemode.Dir {
			key += "/"
		}
		entries[key] = e
	}
	return entries, nil
}

// file adds one file, or counts it.
func (d *treeDiff) file(path string, old, now object.TreeEntry, had, has bool) (err error) {
	if len(d.files) >= maxDiffFiles {
		d.more++
		return nil
	}
	f := dm.FileChange{Path: path, FromSize: -1, ToSize: -1, Executable: old.Mode == filemode.Executable}
	if had {
		if f.FromSize, err = d.objects.Size(old.Hash); err != nil {
			return err
		}
	}
	if has {
		f.Executable = now.Mode == filemode.Executable
		if f.ToSize, err = d.objects.Size(now.Hash); err != nil {
			return err
		}
	}
	d.files = append(d.files, f)
	return nil
}

// patch returns what writes the unified diff of two trees, as git shows it. The
// prefixes stand for git's a/ and b/, so that the patch says what it compares.
func (s *Store) patch(dir string, trees [2]plumbing.Hash, from, to string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		const op = "gitstore.WritePatch"
		out := &cutWriter{w: w, left: maxPatchBytes, lines: maxPatchLines}
		err := s.git.DiffTree(ctx, dir, out, gitcmd.Side{Tree: trees[0].String(), Prefix: from}, gitcmd.Side{Tree: trees[1].String(), Prefix: to})
		switch {
		case out.cut != "": // and git has failed because nobody read on
			_, err = fmt.Fprintf(w, "\n\\ The patch %s and was cut off here.\n", out.cut)
		case gitcmd.Starved(err):
			_, err = fmt.Fprint(w, "\n\\ The patch takes too much memory and was cut off here; clone the repository and compare there.\n")
		}
		return repo.Failed(op, err)
	}
}

// errCut ends a copy at the limit.
var errCut = errors.New("the output is too long")

// cutWriter passes on the first bytes and lines of what is written to it.
type cutWriter struct {
	w           io.Writer
	left, lines int
	cut         string // why it was cut off
}

func (c *cutWriter) Write(p []byte) (int, error) {
	kept := p
	if len(kept) > c.left {
		kept, c.cut = kept[:c.left], fmt.Sprintf("is longer than %d bytes", maxPatchBytes)
	}
	for i, b := range kept {
		if b != '\n' {
			continue
		}
		if c.lines--; c.lines == 0 {
			if i+1 < len(p) {
				kept, c.cut = kept[:i], fmt.Sprintf("has more than %d lines", maxPatchLines)
			}
			break
		}
	}
	n, err := c.w.Write(kept)
	c.left -= n
	if err != nil {
		c.cut = ""
		return n, err
	}
	if c.cut != "" {
		err = errCut
	}
	return n, err
}
