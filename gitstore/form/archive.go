package form

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// WriteArchive writes the archive of a pushed version, which must be the one that
// its tag names.
func (v Version) WriteArchive(ctx context.Context, objects *repo.Objects, w io.Writer) error {
	tree, err := objects.Tree(v.Tree)
	if err != nil {
		return err
	}
	files, err := TreeFiles(tree)
	if err != nil {
		return err
	}
	var members []archive.Member
	for path, f := range files {
		size, err := objects.Size(f.Hash)
		if err != nil {
			return err
		}
		members = append(members, archive.Member{Path: path, Executable: f.Mode == filemode.Executable, Size: size, Copy: func(w io.Writer) error {
			r, _, err := objects.Blob(f.Hash)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.Copy(w, r)
			return cmp.Or(err, ctx.Err())
		}})
	}
	sum := sha256.New()
	if err := archive.Write(io.MultiWriter(w, sum), v.Top, members); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != v.Digest {
		return fmt.Errorf("the archive has SHA-256 %s, its tag says %s", got, v.Digest)
	}
	return nil
}
