package repair

import (
	"context"
	"io"
	"maps"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// fromArchives writes those objects of left into w that the uploaded archives of
// the package in dir give: their files, and the trees above these. It takes what
// it finds off left. An archive that can't be read gives nothing.
func (s *Service) fromArchives(ctx context.Context, dir string, left map[plumbing.Hash]struct{}, w *pack.Writer) {
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return
	}
	for ref, h := range heads {
		if !strings.HasPrefix(ref, repo.ArchivePrefix) || len(left) == 0 {
			continue
		}
		if err := s.fromArchive(ctx, dir, h, left, w); err != nil {
			s.Log.Warn("an archive does not help to repair its package", "repository", filepath.Base(dir), "archive", h, "err", err)
		}
	}
}

func (s *Service) fromArchive(ctx context.Context, dir string, blob plumbing.Hash, left map[plumbing.Hash]struct{}, w *pack.Writer) error {
	sink := &form.TreeSink{Files: map[string]form.FileLine{}}
	result, err := s.readArchive(ctx, dir, blob, sink)
	if err != nil {
		return err
	}
	top, wanted := repo.NewTree(), map[string]plumbing.Hash{}
	place := form.NewPlacer(result.Top, maps.Keys(sink.Files))
	for path, f := range sink.Files {
		if _, ok := left[f.Hash]; ok {
			wanted[path] = f.Hash
		}
		if path, ok := place.Place(path); ok {
			top.Set(path, f.Mode, repo.Known(f.Hash))
		}
	}
	if len(wanted) > 0 {
		if _, err := s.readArchive(ctx, dir, blob, &pickingSink{wanted, w}); err != nil {
			return err
		}
	}
	_, err = top.Write(&missingTrees{left, w})
	for _, h := range wanted {
		delete(left, h)
	}
	return err
}

func (s *Service) readArchive(ctx context.Context, dir string, blob plumbing.Hash, sink archive.Sink) (archive.Result, error) {
	bytes, _, err := s.Data.OpenBlob(ctx, dir, blob)
	if err != nil {
		return archive.Result{}, err
	}
	defer bytes.Close()
	return archive.Read(ctx, bytes, archive.NoLimits(), sink)
}

// pickingSink keeps the files that are wanted.
type pickingSink struct {
	wanted map[string]plumbing.Hash
	w      *pack.Writer
}

// File implements archive.Sink.
func (p *pickingSink) File(path string, _ bool, size int64, r io.Reader) error {
	if _, ok := p.wanted[path]; !ok {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	_, err := p.w.Blob(size, r)
	return err
}

// missingTrees adds the trees that are missing, and takes them off.
type missingTrees struct {
	left map[plumbing.Hash]struct{}
	w    *pack.Writer
}

// Add implements repo.Adder.
func (m *missingTrees) Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	h := plumbing.ComputeHash(t, content)
	if _, ok := m.left[h]; !ok {
		return h, nil
	}
	delete(m.left, h)
	return m.w.Add(t, content)
}
