package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// objects reads what a push brought and what it builds on. git has indexed it and
// checked each object for itself; go-git, which trusts what it reads, is kept from
// it. What is not in a pack, or too much to be made here of differences, is read
// by git, which has a memory limit.
type objects struct {
	git  *gitcmd.Git
	dir  string   // of the stage
	dirs []string // of packs: of the stage, and of the repository that it borrows from
	open []*pack.Reader
}

// close closes the packs.
func (o *objects) close() {
	for _, r := range o.open {
		r.Close()
	}
}

// each calls visit with the packs of the stage and, when it has not what it looks
// for there, with those that it borrows from. An error there is none: maintenance
// may take a pack away that was there.
func (o *objects) each(visit func(*pack.Reader) (found bool, err error)) error {
	for i, dir := range o.dirs {
		if i == len(o.open) {
			r, err := pack.OpenAll(repo.PackDir(dir))
			if err != nil {
				return err
			}
			o.open = append(o.open, r)
		}
		if found, err := visit(o.open[i]); found || err != nil && i == 0 {
			return err
		}
	}
	return nil
}

// size tells the type and the size in bytes of an object.
func (o *objects) size(ctx context.Context, id string) (kind string, size int64, err error) {
	found := false
	err = o.each(func(r *pack.Reader) (_ bool, err error) {
		var k plumbing.ObjectType
		k, size, found, err = r.Stat(plumbing.NewHash(id))
		kind = k.String()
		return found, err
	})
	if err == nil && !found {
		err = o.git.CatObjects(ctx, o.dir, slices.Values([]string{id}), func(_, k string, n int64, _ io.Reader) error {
			kind, size = k, n
			return nil
		})
	}
	return kind, size, err
}

// whole finds an object that is stored whole.
func (o *objects) whole(id string) (raw pack.Raw, found bool, err error) {
	err = o.each(func(r *pack.Reader) (_ bool, err error) {
		raw, found, err = r.Whole(plumbing.NewHash(id))
		return found, err
	})
	return raw, found, err
}

// made finds an object of at most limit bytes.
func (o *objects) made(id string, limit int64) (content []byte, found bool, err error) {
	err = o.each(func(r *pack.Reader) (_ bool, err error) {
		content, found, err = r.Content(plumbing.NewHash(id), limit)
		return found, err
	})
	return content, found, err
}

// read returns one object of at most limit bytes.
func (o *objects) read(ctx context.Context, id string, limit int64) (kind string, content []byte, err error) {
	if _, err := dm.ParseRevision(id); err != nil {
		return "", nil, err // other programs may read it in another way
	}
	kind, size, err := o.size(ctx, id)
	if err == nil && size > limit {
		err = dm.Errorf(dm.TooLarge, "receive.push", "the %s %s has %d bytes, at most %d are allowed", kind, id, size, limit)
	}
	if err != nil {
		return kind, nil, err
	}
	content, found, err := o.made(id, limit)
	if err == nil && !found {
		err = o.git.CatObjects(ctx, o.dir, slices.Values([]string{id}), func(_, _ string, _ int64, r io.Reader) (err error) {
			content, err = io.ReadAll(r)
			return err
		})
	}
	return kind, content, err
}

// mostMade is the largest file, in bytes, that is made of differences in memory.
const mostMade = 16 << 20

// blob streams a file of size bytes into use.
func (o *objects) blob(ctx context.Context, f file, use func(io.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, found, err := o.whole(f.id)
	if err != nil {
		return err
	}
	if found {
		r, err := raw.Open()
		if err != nil {
			return err
		}
		return use(r)
	}
	if f.Size <= mostMade {
		content, found, err := o.made(f.id, mostMade)
		if err != nil {
			return err
		}
		if found {
			return use(bytes.NewReader(content))
		}
	}
	return o.git.CatObjects(ctx, o.dir, slices.Values([]string{f.id}), func(_, _ string, _ int64, r io.Reader) error { return use(r) })
}

// pushedCommit is a commit with its tree.
type pushedCommit struct {
	id   string
	tree string
}

// peel follows annotated tags to a commit. Their headers are judged on the way.
func (o *objects) peel(ctx context.Context, id string) (pushedCommit, error) {
	const op = "receive.push"
	for range maxTagDepth {
		kind, content, err := o.read(ctx, id, maxHeadBytes)
		if err != nil {
			return pushedCommit{}, err
		}
		if kind != "commit" && kind != "tag" {
			return pushedCommit{}, dm.Errorf(dm.Invalid, op, "a %s cannot be published, only a commit or a tag of one", kind)
		}
		fields, err := parseHead(kind, id, content)
		if err != nil {
			return pushedCommit{}, err
		}
		if kind == "commit" {
			return pushedCommit{id: id, tree: fields["tree"]}, nil
		}
		id = fields["object"]
	}
	return pushedCommit{}, dm.Errorf(dm.Invalid, op, "tags nested more than %d deep", maxTagDepth)
}

// entryOf is an entry of a tree in the words of an archive.
func entryOf(mode, path string, size int64) archive.Entry {
	switch mode {
	case "40000", "040000":
		return archive.Entry{Name: path, Directory: true, Mode: 0o755}
	case "100644":
		return archive.Entry{Name: path, Mode: 0o644, Size: size}
	case "100755":
		return archive.Entry{Name: path, Mode: 0o755, Size: size}
	case "120000":
		return archive.Entry{Name: path, Fault: archive.SymbolicLink}
	case "160000":
		return archive.Entry{Name: path, Fault: archive.Submodule}
	}
	return archive.Entry{Name: path, Fault: fmt.Sprintf("it has the mode %.20q; only files and directories are allowed", mode)}
}

// treeLine is one entry of a tree.
type treeLine struct {
	mode string // octal, as git writes it
	name string
	id   string
}

// parseTree reads the entries of a tree object.
func parseTree(id string, content []byte) ([]treeLine, error) {
	var lines []treeLine
	for len(content) > 0 {
		mode, rest, ok := bytes.Cut(content, []byte(" "))
		name, rest, named := bytes.Cut(rest, []byte{0})
		if !ok || !named || len(rest) < 20 {
			return nil, dm.Errorf(dm.Invalid, "receive.push", "the tree %.12s cannot be read", id)
		}
		if part := string(name); part == "" || part == "." || part == ".." || strings.Contains(part, "/") {
			return nil, dm.Errorf(dm.Invalid, "receive.push", "the tree %.12s has an entry %q", id, firstBytes(part))
		}
		var hash plumbing.Hash
		copy(hash[:], rest)
		lines = append(lines, treeLine{string(mode), string(name), hash.String()})
		content = rest[20:]
	}
	return lines, nil
}

// errNotFound tells that a pushed tree has no such file.
var errNotFound = errors.New("no such file")

// file reads one small file at the top of a tree.
func (o *objects) file(ctx context.Context, tree, name string, limit int64) ([]byte, error) {
	_, content, err := o.read(ctx, tree, maxTreeBytes)
	if err != nil {
		return nil, err
	}
	lines, err := parseTree(tree, content)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if line.name == name && strings.HasPrefix(line.mode, "100") {
			_, content, err := o.read(ctx, line.id, limit)
			return content, err
		}
	}
	return nil, errNotFound
}
