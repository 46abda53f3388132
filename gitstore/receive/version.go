package receive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// file is one file of a pushed package.
type file struct {
	Path       string
	Executable bool
	Size       int64 // bytes
	id         string
}

// Version is what a push calls a version, once it was judged.
type Version struct {
	File     dm.PackageFile // of its archive, which is made for those who ask for it
	Tree     plumbing.Hash  // as the record would hold it, with paths in normal form
	Digest   string         // SHA-256 of the archive, see archive.Write
	Findings []string       // why it can't be deployed, few
	Notes    []string       // for the person who pushes
	files    []file         // by path
}

// Files are the files as a tree.
func (v Version) Files() *repo.Tree {
	b := repo.NewTree()
	for _, f := range v.files {
		b.Set(f.Path, repo.Mode(f.Executable), repo.Known(plumbing.NewHash(f.id)))
	}
	return b
}

// judgeVersion tells whether publish would accept the version.
func (p *push) judgeVersion(ctx context.Context, ref dm.PushedRef) (outcome dm.PushOutcome, err error) {
	v := &Version{}
	pkg := dm.PackageRef{Name: dm.PackageName(p.repository.Name), Version: *ref.Version}
	if v.File, err = dm.ParsePackageFile(pkg.String() + ".tar.gz"); err != nil {
		return outcome, err
	}
	if err := p.Record.MayPublish(ctx, p.by(ref), pkg); err != nil {
		return outcome, err
	}
	commit, err := p.objects.peel(ctx, string(ref.New))
	if err != nil {
		return outcome, err
	}
	if v.files, err = p.objects.list(ctx, commit.tree, pkg.String(), p.Limits); err != nil {
		return outcome, err
	}
	if v.Tree, err = v.Files().Write(repo.NamesOnly{}); err != nil {
		return outcome, err
	}
	outcome, err = p.Record.Compare(v.File, v.Tree)
	if err == nil && outcome.Changed {
		err = p.validate(ctx, ref, v)
		outcome.Notes = v.Notes
	}
	if err == nil && outcome.Changed {
		v.Digest, err = p.objects.digest(ctx, pkg.String(), v.files)
	}
	p.judged[ref.Name] = v
	return outcome, err
}

// validate judges a pushed version as its deploy would, before its number is
// used.
func (p *push) validate(ctx context.Context, ref dm.PushedRef, pushed *Version) error {
	const op = "receive.push"
	pkg := pushed.File.Ref
	v, err := p.Record.Validate(ctx, pkg, func() (*treefs.Sketch, error) {
		return p.objects.sketch(ctx, p.Look(), pushed.files)
	})
	if err != nil {
		return err
	}
	pushed.Findings, pushed.Notes = dm.Few(dm.FindingTexts(v.Findings)), dm.Few(v.Notes)
	switch {
	case len(v.Findings) > 0 && !ref.Faulty:
		return dm.Refuse(op, fmt.Sprintf("%s is not deployable", pkg), v.Findings).
			WithHint("fix it and push the tag again, or publish it as it is with git push -o accept-faults")
	case len(v.Findings) > 0:
		fault := fmt.Sprintf("%s cannot be deployed: %s", pkg, strings.Join(pushed.Findings, "; "))
		pushed.Notes = append([]string{fault}, pushed.Notes...)
	}
	return nil
}

// publish makes the pushed tree a version.
func (p *push) publish(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
	const op = "receive.publish"
	v, ok := p.judged[ref.Name]
	if !ok {
		return dm.PushOutcome{}, dm.Errorf(dm.Internal, op, "the push of %s was not checked", ref.Name)
	}
	outcome, err := p.Record.Compare(v.File, v.Tree)
	if err != nil || !outcome.Changed {
		return outcome, err
	}
	outcome.Changed, err = p.Record.Publish(ctx, p.by(ref), *v, func(w *pack.Writer) error {
		for _, f := range v.files {
			if err := p.objects.copyTo(ctx, w, f); err != nil {
				return err
			}
		}
		return nil
	})
	outcome.Notes = v.Notes
	return outcome, err
}

// maxPath is how many bytes a path of a pushed tree may have to be told about.
const maxPath = 64 << 10

// list lists the files of a pushed tree by path, as the archive with the outer
// directory top will hold them. All faults come back at once.
func (o *objects) list(ctx context.Context, tree, top string, limits archive.Limits) ([]file, error) {
	l := &listing{objects: o, judge: archive.NewJudge(limits), top: top, mostBytes: mostEntryBytes * (int64(limits.Entries) + 1)}
	if _, err := l.judge.Entry(archive.Entry{Name: top, Directory: true}); err != nil {
		return nil, err
	}
	if err := l.tree(ctx, "", tree); err != nil {
		return nil, err
	}
	slices.SortFunc(l.files, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	return l.files, l.judge.Refusal()
}

// mostEntryBytes is what an entry of a tree has at most whose name may be taken.
const mostEntryBytes = 300

// listing goes through a pushed tree.
type listing struct {
	*objects
	judge     *archive.Judge
	top       string
	mostBytes int64 // of one tree
	files     []file
}

// tree takes the entries of a tree and of those in it, each before what it holds.
// The judge ends what would have no end.
func (l *listing) tree(ctx context.Context, prefix, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, content, err := l.read(ctx, id, max(l.mostBytes, maxTreeBytes))
	if err != nil {
		return err
	}
	lines, err := parseTree(id, content)
	if err != nil {
		return err
	}
	for _, line := range lines {
		name := prefix + line.name
		if len(name) > maxPath {
			return dm.Errorf(dm.Invalid, "receive.push", "a path in the tree is longer than %d bytes", maxPath)
		}
		entry := entryOf(line.mode, l.top+"/"+name, 0)
		if !entry.Directory && entry.Fault == "" {
			kind := ""
			if kind, entry.Size, err = l.size(ctx, line.id); err != nil {
				return err
			}
			if kind != "blob" {
				return dm.Errorf(dm.Invalid, "receive.push", "the tree %.12s has a %s for a file", id, kind)
			}
		}
		path, err := l.judge.Entry(entry)
		switch {
		case err != nil:
			return err
		case entry.Directory:
			if err := l.tree(ctx, name+"/", line.id); err != nil {
				return err
			}
		case path != "":
			l.files = append(l.files, file{strings.TrimPrefix(path, l.top+"/"), entry.Mode&0o100 != 0, entry.Size, line.id})
		}
	}
	return nil
}

// sketch reads of each file as much as look wants.
func (o *objects) sketch(ctx context.Context, look func(path string, size int64) int64, files []file) (*treefs.Sketch, error) {
	list := make([]treefs.Sketched, len(files))
	for i, f := range files {
		var head []byte
		if n := look(f.Path, f.Size); n > 0 {
			head = make([]byte, n)
			err := o.blob(ctx, f, func(r io.Reader) error {
				_, err := io.ReadFull(r, head)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		list[i] = treefs.Sketched{Path: f.Path, Executable: f.Executable, Size: f.Size, Open: treefs.Held(head, f.Size)}
	}
	return treefs.NewSketch(list), nil
}

// digest is the SHA-256 of the archive of the files.
func (o *objects) digest(ctx context.Context, top string, files []file) (string, error) {
	members := make([]archive.Member, len(files))
	for i, f := range files {
		members[i] = archive.Member{Path: f.Path, Executable: f.Executable, Size: f.Size, Copy: func(w io.Writer) error {
			return o.blob(ctx, f, func(r io.Reader) error {
				_, err := io.Copy(w, r)
				return err
			})
		}}
	}
	sum := sha256.New()
	err := archive.Write(sum, top, members)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// copyTo writes a file into a pack: as it is stored, where it is stored whole.
func (o *objects) copyTo(ctx context.Context, w *pack.Writer, f file) error {
	raw, found, err := o.whole(f.id)
	if err != nil {
		return err
	}
	if found {
		_, err = w.Copy(raw)
		return err
	}
	return o.blob(ctx, f, func(r io.Reader) error {
		_, err := w.Blob(f.Size, r)
		return err
	})
}
