package gitstore

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// pushedFile is one file of a pushed package.
type pushedFile struct {
	path       string
	executable bool
	id         string
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
	if _, err := p.s.Admission.Admit(ctx, dm.Proposal{Actor: p.by(ref), Verb: dm.Publish, Package: file.Ref}); err != nil {
		return dm.PushOutcome{}, err
	}
	commit, err := from.peel(ctx, string(ref.New))
	if err != nil {
		return dm.PushOutcome{}, err
	}
	if _, err := from.files(ctx, commit.tree, file.Ref.String(), p.s.Limits); err != nil {
		return dm.PushOutcome{}, err
	}
	return p.compare(file, commit.tree)
}

// compare tells what a push of tree as file would do. The content counts, not
// the bytes of the archive that would be made of it.
func (p *push) compare(file dm.PackageFile, tree string) (dm.PushOutcome, error) {
	outcome := dm.PushOutcome{Changed: true, Ref: tagRef(file.Ref.Version)}
	old, had := p.s.version(file.Ref)
	switch {
	case had && old.tree.String() == tree:
		outcome.Changed = false
		return outcome, nil
	case had && !p.s.Replace:
		_, err := unchanged(old, file, "")
		return dm.PushOutcome{}, err
	}
	return outcome, nil
}

// publish makes the pushed tree a version: it is written as an archive, and that
// goes the way of every upload.
func (p *push) publish(ctx context.Context, from pushedObjects, ref dm.PushedRef) (dm.PushOutcome, error) {
	file, err := p.file(*ref.Version)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	commit, err := from.peel(ctx, string(ref.New))
	if err != nil {
		return dm.PushOutcome{}, err
	}
	outcome, err := p.compare(file, commit.tree)
	if err != nil || !outcome.Changed {
		return outcome, err
	}
	top := file.Ref.String()
	files, err := from.files(ctx, commit.tree, top, p.s.Limits)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := from.archive(ctx, w, top, files)
		w.CloseWithError(err)
		written <- err
	}()
	published, err := p.s.Publish(ctx, p.by(ref), file, r, -1)
	r.Close()
	if cause := <-written; cause != nil && !errors.Is(cause, io.ErrClosedPipe) {
		return dm.PushOutcome{}, cause // Publish only knows that its body failed
	}
	if err != nil {
		return dm.PushOutcome{}, err
	}
	outcome.Changed = !published.Already
	return outcome, nil
}

// files lists the files of a pushed tree, as the archive with the outer
// directory top will hold them. All faults come back at once.
func (o pushedObjects) files(ctx context.Context, tree, top string, limits archive.Limits) ([]pushedFile, error) {
	judge := archive.NewJudge(limits)
	if _, err := judge.Entry(archive.Entry{Name: top, Directory: true}); err != nil {
		return nil, err
	}
	var files []pushedFile
	err := o.git.ListTree(ctx, o.dir, o.env, tree, func(e gitcmd.TreeEntry) error {
		entry := entryOf(e.Mode, top+"/"+e.Path, e.Size)
		path, err := judge.Entry(entry)
		if err == nil && path != "" && !entry.Directory {
			files = append(files, pushedFile{strings.TrimPrefix(path, top+"/"), entry.Mode&0o100 != 0, e.ID})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return files, judge.Refusal()
}

// archive writes the archive of the files.
func (o pushedObjects) archive(ctx context.Context, w io.Writer, top string, files []pushedFile) error {
	a, err := archive.NewWriter(w, top)
	if err != nil {
		return err
	}
	ids := make([]string, len(files))
	for i, f := range files {
		ids[i] = f.id
	}
	next := 0
	err = o.git.CatObjects(ctx, o.dir, o.env, slices.Values(ids), func(_, _ string, size int64, r io.Reader) error {
		f := files[next]
		next++
		return a.File(f.path, f.executable, size, r)
	})
	if err != nil {
		return err
	}
	return a.Close()
}
