package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// OpenBlob opens an archive's bytes for reading at any place. A blob that a
// repack brought into another form is read through git instead.
func (f *Folder) OpenBlob(ctx context.Context, dir string, h plumbing.Hash) (io.ReadSeekCloser, int64, error) {
	path, err := findPack(dir, h)
	if err != nil {
		return nil, 0, err
	}
	stored, err := pack.OpenStored(path, h)
	if err == nil {
		return stored, stored.Size(), nil
	}
	if !errors.Is(err, pack.ErrNotStored) {
		return nil, 0, err
	}
	size, err := openObjects(dir).size(h)
	if err != nil {
		return nil, 0, err
	}
	b := &gitBlob{size: size, open: func() (io.ReadCloser, error) { return f.Git.CatBlob(ctx, dir, h.String()) }}
	return b, size, nil
}

// findPack finds the pack of an object that a ref leads to. When there is none
// the repository is damaged, which must not be taken for "not found": plugins
// and clients would believe that there was nothing.
func findPack(dir string, h plumbing.Hash) (string, error) {
	path, err := pack.Find(packDir(dir), h)
	if err != nil {
		return "", dm.Errorf(dm.Unavailable, "gitstore.findPack", "the record lacks an object").Because(err)
	}
	return path, nil
}

// gitBlob gives the stream of git cat-file a Seek: reading on goes on in the
// stream, reading elsewhere starts it anew and skips.
type gitBlob struct {
	open   func() (io.ReadCloser, error)
	size   int64
	at     int64 // of the next Read
	stream io.ReadCloser
	behind int64 // position of stream
}

// Seek implements io.Seeker.
func (b *gitBlob) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return b.at, fmt.Errorf("seek before the start of a blob")
	}
	b.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (b *gitBlob) Read(p []byte) (int, error) {
	if b.at >= b.size {
		return 0, io.EOF
	}
	if b.stream == nil || b.behind > b.at {
		if err := b.Close(); err != nil {
			return 0, err
		}
		stream, err := b.open()
		if err != nil {
			return 0, err
		}
		b.stream, b.behind = stream, 0
	}
	if skip := b.at - b.behind; skip > 0 {
		n, err := io.CopyN(io.Discard, b.stream, skip)
		b.behind += n
		if err != nil {
			return 0, err
		}
	}
	n, err := b.stream.Read(p)
	b.at += int64(n)
	b.behind = b.at
	return n, err
}

// Close implements io.Closer.
func (b *gitBlob) Close() error {
	if b.stream == nil {
		return nil
	}
	stream := b.stream
	b.stream = nil
	return stream.Close()
}
