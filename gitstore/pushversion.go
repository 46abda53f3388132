package gitstore

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// pushedFile is one file of a pushed package.
type pushedFile struct {
	path       string
	executable bool
	id         string
	size       int64 // bytes
}

// pushedVersion is what a push calls a version, once it was judged.
type pushedVersion struct {
	tree  plumbing.Hash // as the record would hold it, with paths in normal form
	files []pushedFile

	findings []string // why it can't be deployed, as validation told
	notes    []string // for the person who pushes
}

// versionOfFiles names the tree of the files.
func versionOfFiles(files []pushedFile) (pushedVersion, error) {
	b := repo.NewTree()
	for _, f := range files {
		b.Set(f.path, repo.Mode(f.executable), repo.Known(plumbing.NewHash(f.id)))
	}
	tree, err := b.Write(repo.NamesOnly{})
	return pushedVersion{tree: tree, files: files}, err
}

// file is the archive that a pushed version gets.
func (p *push) file(v dm.Version) (dm.PackageFile, error) {
	return dm.ParsePackageFile(dm.PackageRef{Name: dm.PackageName(p.repository.Name), Version: v}.String() + ".tar.gz")
}

// judgeVersion tells whether publish would accept the version.
func (p *push) judgeVersion(ctx context.Context, from pushedObjects, ref dm.PushedRef) (dm.PushOutcome, error) {
	file, err := p.file(*ref.Version)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	if err := p.s.admitPackage(ctx, p.by(ref), dm.Publish, file.Ref); err != nil {
		return dm.PushOutcome{}, err
	}
	commit, err := from.peel(ctx, string(ref.New))
	if err != nil {
		return dm.PushOutcome{}, err
	}
	files, err := from.files(ctx, commit.tree, file.Ref.String(), p.s.Limits)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	pushed, err := versionOfFiles(files)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	outcome, err := p.compare(file, pushed.tree)
	if err == nil && outcome.Changed {
		err = p.validate(ctx, from, ref, file.Ref, &pushed)
		outcome.Notes = pushed.notes
	}
	p.judged[ref.Name] = pushed
	return outcome, err
}

// validate judges a pushed version as its deploy would, before its number is
// used.
func (p *push) validate(ctx context.Context, from pushedObjects, ref dm.PushedRef, pkg dm.PackageRef, pushed *pushedVersion) error {
	const op = "gitstore.push"
	v, err := p.s.validate(ctx, pkg, pkg.String(), func() (*treefs.Sketch, error) {
		return from.sketch(ctx, p.s.Planner.Look(), pushed.files)
	})
	if err != nil {
		return err
	}
	pushed.findings, pushed.notes = few(findingTexts(v.Findings)), few(v.Notes)
	switch {
	case len(v.Findings) > 0 && !ref.Faulty:
		return dm.Refuse(op, fmt.Sprintf("%s is not deployable", pkg), v.Findings).
			WithHint("fix it and push the tag again, or publish it as it is with git push -o accept-faults")
	case len(v.Findings) > 0:
		fault := fmt.Sprintf("%s cannot be deployed: %s", pkg, strings.Join(pushed.findings, "; "))
		pushed.notes = append([]string{fault}, pushed.notes...)
	}
	return nil
}

// sketch reads of each file as much as look wants.
func (o pushedObjects) sketch(ctx context.Context, look func(path string, size int64) int64, files []pushedFile) (*treefs.Sketch, error) {
	list, heads := make([]treefs.Sketched, len(files)), make([][]byte, len(files))
	var ids []string
	var wanted []int
	for i, f := range files {
		var head []byte
		if n := look(f.path, f.size); n > 0 {
			ids, wanted = append(ids, f.id), append(wanted, i)
			head = make([]byte, n)
		}
		heads[i] = head
		list[i] = treefs.Sketched{Path: f.path, Executable: f.executable, Size: f.size, Open: treefs.Held(head, f.size)}
	}
	if len(ids) == 0 {
		return treefs.NewSketch(list), nil
	}
	err := o.git.CatObjects(ctx, o.dir, slices.Values(ids), func(_, _ string, _ int64, r io.Reader) error {
		head := heads[wanted[0]]
		wanted = wanted[1:]
		_, err := io.ReadFull(r, head)
		return err
	})
	return treefs.NewSketch(list), err
}

// compare tells what a push of tree as file would do. The content counts, not
// the bytes of the archive that would be made of it.
func (p *push) compare(file dm.PackageFile, tree plumbing.Hash) (dm.PushOutcome, error) {
	outcome := dm.PushOutcome{Changed: true, Ref: repo.Tag(file.Ref.Version)}
	old, had := p.s.version(file.Ref)
	switch {
	case had && old.Tree == tree:
		outcome.Changed = false
		return outcome, nil
	case had && !p.s.Replace:
		_, err := unchanged(old, file, "")
		return dm.PushOutcome{}, err
	}
	if e := p.s.index.Package(file.Ref.Name); !had && !p.s.Replace && e != nil {
		if old, withdrawn := e.Withdrawn[file.Ref.Version]; withdrawn && old.Tree != tree {
			return dm.PushOutcome{}, e.StillUsed(file, "")
		}
	}
	return outcome, nil
}

// publish makes the pushed tree a version, with an archive made of it.
func (p *push) publish(ctx context.Context, from pushedObjects, ref dm.PushedRef) (dm.PushOutcome, error) {
	const op = "gitstore.publish"
	file, err := p.file(*ref.Version)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	pushed, ok := p.judged[ref.Name]
	if !ok {
		return dm.PushOutcome{}, dm.Errorf(dm.Internal, op, "the push of %s was not checked", file.Ref)
	}
	outcome, err := p.compare(file, pushed.tree)
	if err != nil || !outcome.Changed {
		return outcome, err
	}
	actor := p.by(ref)
	if err := p.s.admitPackage(ctx, actor, dm.Publish, file.Ref); err != nil {
		return dm.PushOutcome{}, err
	}
	up, err := p.s.newUpload(file.Ref.Name)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	defer up.discard()
	up.findings = pushed.findings
	if err := up.take(ctx, from, file.Ref.String(), pushed.files); err != nil {
		return dm.PushOutcome{}, err
	}
	published, err := p.s.publishArrived(ctx, actor, file, up)
	outcome.Changed, outcome.Notes = !published.Already, pushed.notes
	return outcome, err
}

// files lists the files of a pushed tree, as the archive with the outer
// directory top will hold them. All faults come back at once.
func (o pushedObjects) files(ctx context.Context, tree, top string, limits archive.Limits) ([]pushedFile, error) {
	judge := archive.NewJudge(limits)
	if _, err := judge.Entry(archive.Entry{Name: top, Directory: true}); err != nil {
		return nil, err
	}
	var files []pushedFile
	err := o.git.ListTree(ctx, o.dir, tree, func(e gitcmd.TreeEntry) error {
		entry := entryOf(e.Mode, top+"/"+e.Path, e.Size)
		path, err := judge.Entry(entry)
		if err == nil && path != "" && !entry.Directory {
			files = append(files, pushedFile{strings.TrimPrefix(path, top+"/"), entry.Mode&0o100 != 0, e.ID, e.Size})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return files, judge.Refusal()
}
