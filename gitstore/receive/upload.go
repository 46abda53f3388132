package receive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// Upload is a version that has arrived whole and proved safe: its files, and its
// bytes when it came as an archive, stand in packs of a repository built aside.
type Upload struct {
	Aside   *repo.Aside
	into    *repo.Objects // of the package's repository; what it has is not written again
	Archive *pack.Writer  // nil when it was pushed
	Blob    *pack.Entry   // the archive
	Content *pack.Writer
	files   []uploadedFile // of the archive
	Tree    *repo.Tree
	Top     string
	Digest  string // of the archive, also of one that is not kept

	Findings []string // why the package can't be deployed
	Notes    []string
}

type uploadedFile struct {
	path  string
	mode  filemode.FileMode
	entry *pack.Entry
}

// ReadUpload reads an archive once: while its bytes go into one pack, its files
// go into another. Memory does not grow with the archive.
func ReadUpload(ctx context.Context, data *repo.Folder, limits archive.Limits, name dm.PackageName, body io.Reader, size int64) (*Upload, error) {
	const op = "receive.Upload"
	if size > limits.Wire {
		return nil, tooLong(limits.Wire)
	}
	up, err := NewUpload(data, name, true)
	if err != nil {
		return nil, repo.Failed(op, err)
	}
	if err = up.read(ctx, body, size, limits); err != nil {
		up.Discard()
		return nil, repo.Failed(op, err)
	}
	up.Tree = up.placed()
	return up, nil
}

// NewUpload makes room for the packs.
func NewUpload(data *repo.Folder, name dm.PackageName, archived bool) (up *Upload, err error) {
	a, err := data.NewAside()
	if err != nil {
		return nil, err
	}
	up = &Upload{Aside: a, into: repo.Open(data.Path(repo.Package(name)))}
	var known func(plumbing.Hash) bool
	if repo.Exists(up.into.Dir) {
		known = data.There(up.into.Dir).Has
	}
	up.Content, err = data.NewPack(a.Dir, known)
	if err == nil && archived {
		up.Archive, err = data.NewPack(a.Dir, known)
	}
	if err != nil {
		up.Discard()
		return nil, err
	}
	return up, nil
}

func tooLong(limit int64) error {
	return dm.Errorf(dm.TooLarge, "receive.Upload", "the archive is larger than %d bytes", limit)
}

// ahead is how far, in bytes, the reader of an archive's files may run before
// the writer of its bytes.
const ahead = 256 << 10

// read drives both packs from one pass over body, of size bytes or of -1 when that
// is not known.
func (u *Upload) read(ctx context.Context, body io.Reader, size int64, limits archive.Limits) error {
	pr, pw := io.Pipe()
	digest := sha256.New()
	stored := make(chan error, 1)
	go func() {
		blob, err := u.Archive.Stored(size, io.TeeReader(bufio.NewReaderSize(pr, ahead), digest))
		u.Blob = blob
		pr.CloseWithError(err) // a failed disk stops the reader below
		stored <- err
	}()
	bytes := bufio.NewWriterSize(pw, ahead)
	result, err := archive.Read(ctx, io.TeeReader(body, bytes), limits, u)
	u.Top = result.Top
	if err == nil {
		err = bytes.Flush()
	}
	pw.CloseWithError(err)
	if storedErr := <-stored; err == nil {
		err = storedErr
	}
	if err == nil {
		err = errors.Join(u.Archive.Flush(), u.Content.Flush())
	}
	u.Digest = hex.EncodeToString(digest.Sum(nil))
	return err
}

// File implements archive.Sink.
func (u *Upload) File(path string, executable bool, size int64, r io.Reader) error {
	entry, err := u.Content.Blob(size, r)
	if err != nil {
		return err
	}
	u.files = append(u.files, uploadedFile{path, repo.Mode(executable), entry})
	return nil
}

// open reads a file of the upload, from the pack that is being written or from the
// repository that has it.
func (u *Upload) open(h plumbing.Hash) (io.ReadCloser, error) {
	r, err := u.Content.Open(h)
	if dm.KindOf(err) == dm.NotFound {
		r, _, err = u.into.Blob(h)
	}
	return r, err
}

// allThere makes sure that what was not written is still in the repository, whose
// lock the caller holds: it was looked up while the body came, and a change that
// failed since may have taken its packs away.
func (u *Upload) allThere() error {
	spared := u.Content.Spared()
	if u.Archive != nil {
		spared = append(spared, u.Archive.Spared()...)
	}
	if len(spared) == 0 {
		return nil
	}
	there, err := pack.OpenAll(repo.PackDir(u.into.Dir))
	if err != nil {
		return err
	}
	for _, h := range spared {
		if !there.Has(h) {
			return dm.Errorf(dm.Unavailable, "receive.Upload", "the package changed while the upload came").WithHint("upload it again")
		}
	}
	return nil
}

// Sketch is the package as it will be recorded, for its validation. It is read
// from the disk, so memory does not grow with it.
func (u *Upload) Sketch() (*treefs.Sketch, error) {
	files := make([]treefs.Sketched, 0, len(u.files))
	p := form.NewPlacer(u.Top, u.paths())
	for _, f := range u.files {
		if path, ok := p.Place(f.path); ok {
			files = append(files, treefs.Sketched{Path: path, Executable: f.mode == filemode.Executable, Size: f.entry.Size, Open: func() (io.ReadCloser, error) {
				return u.open(f.entry.Hash)
			}})
		}
	}
	return treefs.NewSketch(files), nil
}

// placed is the package's tree; see form.NewPlacer.
func (u *Upload) placed() *repo.Tree {
	b := repo.NewTree()
	p := form.NewPlacer(u.Top, u.paths())
	for _, f := range u.files {
		if path, ok := p.Place(f.path); ok {
			b.Set(path, f.mode, repo.Known(f.entry.Hash))
		}
	}
	return b
}

// paths are those of the files in the archive.
func (u *Upload) paths() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range u.files {
			if !yield(f.path) {
				return
			}
		}
	}
}

// Discard removes what did not become part of the record.
func (u *Upload) Discard() {
	for _, w := range []*pack.Writer{u.Archive, u.Content} {
		if w != nil {
			w.Abort()
		}
	}
	if err := u.Aside.Discard(); err != nil {
		u.Aside.Folder.Log.Warn("a temporary repository could not be removed", "err", err)
	}
}

// Seal adds trees, commit and tag to the content pack and ends it: it holds what
// is new in the version. The caller holds the lock of the package.
func (u *Upload) Seal(v *form.Version) (p pack.Pack, err error) {
	if v.Tree, err = u.Tree.Write(u.Content); err != nil {
		return p, err
	}
	if err := v.Encode(u.Content); err != nil {
		return p, err
	}
	if err := u.allThere(); err != nil { // trees were looked up, too
		return p, err
	}
	why := "content of " + v.File.Ref.String()
	if len(u.Content.Spared()) > 0 && u.Content.Size() < repo.KeptFrom {
		why = "" // it is of no use alone
	}
	return u.Content.Commit(why)
}

// Digest reads a body for comparison only.
func Digest(body io.Reader, size, most int64) (string, error) {
	if size > most {
		return "", tooLong(most)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(body, most+1))
	switch {
	case err != nil:
		return "", dm.Errorf(dm.Invalid, "receive.Upload", "unexpected end of the upload").Because(err)
	case n > most:
		return "", tooLong(most)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
