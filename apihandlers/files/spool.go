package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"

	dm "github.com/pndaproject/deployment-manager"
)

// spooled is a content on disk, under no name: it is gone when it is closed, and with
// the process.
type spooled struct {
	*os.File
	size   int64
	digest hash.Hash
}

func (s *spooled) sum() [sha256.Size]byte { return [sha256.Size]byte(s.digest.Sum(nil)) }

// Write is for whoever makes the content, once.
func (s *spooled) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	s.size += int64(n)
	s.digest.Write(p[:n])
	if err != nil {
		err = dm.Errorf(dm.Unavailable, "files.spool", "the server has no room for the file now, try again").Because(err)
	}
	return n, err
}

// spool keeps what write writes.
func (a *API) spool(write func(io.Writer) error) (*spooled, error) {
	const op = "files.spool"
	f, err := os.CreateTemp(a.cfg.Spool, "delivered-*")
	if err != nil {
		return nil, dm.Errorf(dm.Unavailable, op, "the server has no room for the file now, try again").Because(err)
	}
	s := &spooled{File: f, digest: sha256.New()}
	if err := errors.Join(os.Remove(f.Name()), write(onlyWriter{s})); err != nil {
		s.Close()
		return nil, dm.Wrap(op, err)
	}
	return s, nil
}

// onlyWriter hides the other ways to write to a file, which count nothing.
type onlyWriter struct{ io.Writer }

// whileWanted ends writing with ctx.
type whileWanted struct {
	ctx context.Context
	io.Writer
}

func (w whileWanted) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

// copyUntil copies until ctx ends.
func copyUntil(ctx context.Context, w io.Writer, r io.Reader) error {
	_, err := io.Copy(whileWanted{ctx, w}, r)
	return err
}
