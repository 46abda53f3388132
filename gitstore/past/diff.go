package past

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

	"github.com/go-git/go-git/v5/plumbing"

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

// numbers fills in the defaults of a comparison and checks that there are such
// deployments.
func (p *applicationPast) numbers(op string, app dm.ApplicationName, from, to int) (int, int, error) {
	if from < 0 || to < 0 {
		return 0, 0, dm.Errorf(dm.Invalid, op, "the number of a deployment must be greater than 0")
	}
	if to == 0 {
		to = p.newest
	}
	if from == 0 {
		if from = to - 1; from == 0 {
			return 0, 0, dm.Errorf(dm.Invalid, op, "deployment 1 of %s is the first, there is no earlier one to compare with", app)
		}
	}
	for _, n := range [...]int{to, from} {
		if _, ok := p.deployments[n]; !ok {
			return 0, 0, NoDeployment(dm.NotFound, op, app, n, p.newest)
		}
	}
	return from, to, nil
}

// NoDeployment says which numbers there are instead of n.
func NoDeployment(kind dm.Kind, op string, app dm.ApplicationName, n, newest int) *dm.Error {
	return dm.Errorf(kind, op, "%s has no deployment %d", app, n).WithHint("its deployments are numbered 1 to %d", newest)
}

// compared are the changes that two deployments were made by.
func (p *applicationPast) compared(op string, app dm.ApplicationName, from, to int) (revisions [2]plumbing.Hash, err error) {
	if from, to, err = p.numbers(op, app, from, to); err != nil {
		return revisions, err
	}
	for i, n := range [...]int{from, to} {
		revisions[i] = plumbing.NewHash(string(p.changes[p.deployments[n]].Revision))
	}
	return revisions, nil
}

// compareDeployments compares what two changes of the application in dir delivered.
// Files are those that people and engines get, below components/, and those of the
// package, below package/; what application.json says is told by the sides and the
// overrides. The patch has all three.
func compareDeployments(ctx context.Context, git *gitcmd.Git, dir string, revisions [2]plumbing.Hash) (d dm.Difference, err error) {
	objects := repo.Open(dir)
	var content [2]form.Change
	for i, h := range revisions {
		if content[i], err = form.DecodeChange(objects, h); err != nil {
			return d, err
		}
	}
	side := func(c form.Change) dm.Side {
		return dm.Side{Deployment: c.Made(), Revision: dm.Revision(c.Commit.String()), Package: c.Spec.Package, Audience: c.Spec.Audience}
	}
	d.From, d.To = side(content[0]), side(content[1])
	if d.Overrides, err = overrideChanges(content[0].Spec.Overrides, content[1].Spec.Overrides); err != nil {
		return d, err
	}
	trees := [2]plumbing.Hash{content[0].Tree, content[1].Tree}
	if err := compare(ctx, git, dir, trees, &d, form.ComponentsTree, form.PackageTree); err != nil {
		return d, err
	}
	d.WritePatch = patch(git, dir, trees,
		fmt.Sprintf("deployment-%d/", d.From.Deployment), fmt.Sprintf("deployment-%d/", d.To.Deployment))
	return d, nil
}

// compareVersions compares the trees of two versions of the package in dir.
func compareVersions(ctx context.Context, git *gitcmd.Git, dir string, from, to dm.Side, trees [2]plumbing.Hash) (dm.Difference, error) {
	d := dm.Difference{From: from, To: to}
	if err := compare(ctx, git, dir, trees, &d); err != nil {
		return d, err
	}
	d.WritePatch = patch(git, dir, trees, from.Package.String()+"/", to.Package.String()+"/")
	return d, nil
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

// compare lists the files of the repository in dir that differ between two trees,
// and counts those over the limit.
func compare(ctx context.Context, git *gitcmd.Git, dir string, trees [2]plumbing.Hash, d *dm.Difference, folders ...string) error {
	objects := repo.Open(dir)
	return git.DiffFiles(ctx, dir, trees[0].String(), trees[1].String(), folders, func(f gitcmd.FileDiff) error {
		if len(d.Files) >= maxDiffFiles {
			d.FilesMore++
			return nil
		}
		change := dm.FileChange{Path: f.Path}
		for i, size := range [...]*int64{&change.FromSize, &change.ToSize} {
			h := plumbing.NewHash(f.Objects[i])
			if *size = -1; h.IsZero() {
				continue
			}
			change.Executable = f.Modes[i] == executable
			var err error
			if *size, err = objects.Size(h); err != nil {
				return err
			}
		}
		d.Files = append(d.Files, change)
		return nil
	})
}

// executable is git's mode of a program.
const executable = "100755"

// patch returns what writes the unified diff of two trees, as git shows it. The
// prefixes stand for git's a/ and b/, so that the patch says what it compares.
func patch(git *gitcmd.Git, dir string, trees [2]plumbing.Hash, from, to string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		const op = "past.patch"
		out := &cutWriter{w: w, left: maxPatchBytes, lines: maxPatchLines}
		err := git.DiffTree(ctx, dir, out, gitcmd.Side{Tree: trees[0].String(), Prefix: from}, gitcmd.Side{Tree: trees[1].String(), Prefix: to})
		switch {
		case out.cut != "": // and git has failed because nobody read on
			_, err = fmt.Fprintf(w, "\n\\ The patch %s and was truncated here.\n", out.cut)
		case gitcmd.Starved(err):
			_, err = fmt.Fprint(w, "\n\\ The patch takes too much memory and was truncated here; clone the repository and compare there.\n")
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
