package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// Limits of one push to an application, whose commits become part of the
// record; and of any single commit and tag.
const (
	maxProposedObjects = 10_000
	maxProposedBytes   = 64 << 20
	maxProposedPaths   = 200_000 // entries of trees, and paths of commits, that are looked at
	maxHeadBytes       = 256 << 10
	maxTreeBytes       = 4 << 20
	maxTagDepth        = 5
)

// newObject is an object that a push adds to the record.
type newObject struct {
	kind string
	id   string
	size int64
}

// brought is what a push to an application would add to its record.
type brought struct {
	objects []newObject
	trees   map[string][]treeLine // the new ones
	sizes   map[string]int64      // of the new blobs
	judged  map[string]bool       // new trees by path and name
	looked  int                   // entries and paths that were looked at
}

// gather lists what commit leads to and the record, up to main, does not have.
func (o *objects) gather(ctx context.Context, commit string, main plumbing.Hash) (*brought, error) {
	const op = "receive.push"
	var not []string
	if !main.IsZero() {
		not = append(not, main.String())
	}
	p := &brought{trees: map[string][]treeLine{}, sizes: map[string]int64{}, judged: map[string]bool{}}
	total := int64(0)
	err := o.git.NewObjects(ctx, o.dir, []string{commit}, not, func(kind, id string, size int64) error {
		p.objects = append(p.objects, newObject{kind, id, size})
		total += size
		switch limit := map[string]int64{"commit": maxHeadBytes, "tree": maxTreeBytes}[kind]; {
		case limit > 0 && size > limit:
			return dm.Errorf(dm.TooLarge, op, "the %s %.12s has %d bytes, at most %d are allowed", kind, id, size, limit)
		case len(p.objects) > maxProposedObjects:
			return dm.Errorf(dm.TooLarge, op, "the push has more than %d objects", maxProposedObjects)
		case total > maxProposedBytes:
			return dm.Errorf(dm.TooLarge, op, "the objects of the push have more than %d bytes", maxProposedBytes)
		}
		if kind == "blob" {
			p.sizes[id] = size
		}
		return nil
	})
	return p, err
}

// of iterates over the names of the objects of some kinds.
func (p *brought) of(kinds ...string) []string {
	var ids []string
	for _, object := range p.objects {
		if slices.Contains(kinds, object.kind) {
			ids = append(ids, object.id)
		}
	}
	return ids
}

// check judges every commit and every tree that would become part of the
// record, in its history too: whoever clones gets all of it.
func (p *brought) check(ctx context.Context, o *objects, limits archive.Limits) error {
	roots := map[string]string{} // tree → a commit that has it
	err := o.git.CatObjects(ctx, o.dir, slices.Values(p.of("commit", "tree")), func(id, kind string, _ int64, r io.Reader) error {
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if kind == "tree" {
			if p.trees[id], err = parseTree(id, content); err == nil {
				err = p.look(len(p.trees[id]))
			}
			return err
		}
		fields, err := parseHead(kind, id, content)
		roots[fields["tree"]] = id
		return err
	})
	if err != nil {
		return err
	}
	for _, root := range slices.Sorted(maps.Keys(roots)) {
		judge := archive.NewJudge(limits)
		err := p.checkTree(judge, "", root)
		if err == nil {
			err = judge.Refusal()
		}
		if err != nil {
			return ofCommit(roots[root], err)
		}
	}
	return nil
}

// ofCommit names the commit that is refused: it need not be the last one.
func ofCommit(commit string, err error) error {
	var refusal *dm.Error
	if !errors.As(err, &refusal) || len(refusal.Findings) == 0 {
		return err
	}
	return dm.Refuse("receive.push", fmt.Sprintf("the commit %.12s is refused", commit), refusal.Findings).
		WithHint("every pushed commit stays in the history: 'git reset --soft origin/main', fix it, and commit again")
}

// look counts n entries more and tells when there are too many: a small pack
// can hold thousands of commits with all the paths that one of them may have.
func (p *brought) look(n int) error {
	if p.looked += n; p.looked > maxProposedPaths {
		return dm.Errorf(dm.TooLarge, "receive.push", "the commits of the push have more than %d files and directories", maxProposedPaths)
	}
	return nil
}

// checkTree judges the entries of a new tree and of the new trees below it.
// What stands in the record already was judged when it came, and what stands at
// the same place in another commit was judged with that.
func (p *brought) checkTree(judge *archive.Judge, prefix, id string) error {
	place := prefix + "\x00" + id
	if p.judged[place] {
		return nil
	}
	p.judged[place] = true
	if err := p.look(len(p.trees[id])); err != nil {
		return err
	}
	for _, line := range p.trees[id] {
		name := prefix + line.name
		entry := entryOf(line.mode, name, p.sizes[line.id])
		if entry.Fault == "" && dm.NormalPath(name) != name {
			entry.Fault = "it is not in Unicode normal form C"
		}
		path, err := judge.Entry(entry)
		if err == nil && path != "" && entry.Directory {
			err = p.checkTree(judge, name+"/", line.id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTo returns what adds the objects to a pack of the record.
func (p *brought) copyTo(ctx context.Context, o *objects) func(*pack.Writer) error {
	return func(w *pack.Writer) error {
		return o.git.CatObjects(ctx, o.dir, slices.Values(p.of("commit", "tree", "blob")), func(_, kind string, size int64, r io.Reader) error {
			if kind == "blob" {
				_, err := w.Blob(size, r)
				return err
			}
			content, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			_, err = w.Add(map[string]plumbing.ObjectType{"commit": plumbing.CommitObject, "tree": plumbing.TreeObject}[kind], content)
			return err
		})
	}
}
