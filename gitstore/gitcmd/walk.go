package gitcmd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os/exec"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// The readers below look at objects that may be hostile: they stream, hold one
// entry at a time, and a visit that returns an error ends git at once, because
// a tree can be made to list for ever.

// record reads up to a zero byte; "" is the end.
func record(op string, out *bufio.Reader) (string, error) {
	line, err := out.ReadSlice(0)
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", dm.Errorf(dm.Invalid, op, "a path in the tree is longer than %d bytes", maxLine)
	case err == io.EOF && len(line) == 0:
		return "", nil
	case err != nil:
		return "", errCut
	}
	return string(line[:len(line)-1]), nil
}

// FileDiff is a file that differs between two trees. ID and mode of a side on which
// it is missing are zeros.
type FileDiff struct {
	Path           string
	Modes, Objects [2]string
}

// DiffFiles visits the files that differ between two trees of the repository dir
// in byte order of their paths, those below the folders only when any are given.
func (g *Git) DiffFiles(ctx context.Context, dir, from, to string, folders []string, visit func(FileDiff) error) error {
	const op = "gitcmd.DiffFiles"
	for _, tree := range []string{from, to} {
		if _, err := dm.ParseRevision(tree); err != nil {
			return err
		}
	}
	args := append([]string{"diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--end-of-options", from, to, "--"}, folders...)
	return g.parse(ctx, command{class: Looks, dir: dir, args: args}, nothing, func(out *bufio.Reader) error {
		for {
			head, err := record(op, out)
			if head == "" || err != nil {
				return err
			}
			fields := strings.Fields(strings.TrimPrefix(head, ":"))
			if len(fields) != 5 {
				return fmt.Errorf("malformed difference:  %.100q", head)
			}
			path, err := record(op, out)
			if err != nil {
				return err
			}
			if err := visit(FileDiff{path, [2]string{fields[0], fields[1]}, [2]string{fields[2], fields[3]}}); err != nil {
				return err
			}
		}
	})
}

// CatObjects visits the objects named by ids in their order. ids runs beside
// the visits and ahead of them, so it must not wait for one; it has ended when
// CatObjects returns. A visit need not read its object to the end, and the
// reader is of no use after it. An object that is missing or damaged is an
// error.
func (g *Git) CatObjects(ctx context.Context, dir string, ids iter.Seq[string],
	visit func(id, kind string, size int64, r io.Reader) error) error {
	const op = "gitcmd.CatObjects"
	c := command{class: Takes, dir: dir, args: []string{"cat-file", "--batch", "--buffer"}}
	return g.parse(ctx, c, lines(ids), func(out *bufio.Reader) error {
		for {
			id, kind, size, err := readHeader(out)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return dm.Wrap(op, err)
			}
			content := &io.LimitedReader{R: out, N: size}
			if err := visit(id, kind, size, &cutReader{content}); err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, content)
			if end, err := out.ReadByte(); content.N > 0 || err != nil || end != '\n' {
				return errCut
			}
		}
	})
}

// cutReader makes an object that breaks off an error of its reader: to a
// LimitedReader that is an ordinary end.
type cutReader struct{ *io.LimitedReader }

func (r *cutReader) Read(p []byte) (int, error) {
	n, err := r.LimitedReader.Read(p)
	if err == io.EOF && r.N > 0 {
		err = errCut
	}
	return n, err
}

// NewObjects visits all objects that are reachable from tips and not from not,
// with their kinds and sizes: commits first, newest first.
func (g *Git) NewObjects(ctx context.Context, dir string, tips, not []string,
	visit func(kind, id string, size int64) error) error {
	const op = "gitcmd.NewObjects"
	c := command{class: Looks, dir: dir, args: []string{"cat-file", "--batch-check", "--buffer"}}
	names := func(ctx context.Context, w io.Writer) error { return g.revList(ctx, dir, tips, not, w) }
	return g.parse(ctx, c, names, func(out *bufio.Reader) error {
		for {
			id, kind, size, err := readHeader(out)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return dm.Wrap(op, err)
			}
			if err := visit(kind, id, size); err != nil {
				return err
			}
		}
	})
}

// revList writes the names of all objects that tips reach and not does not.
func (g *Git) revList(ctx context.Context, dir string, tips, not []string, w io.Writer) error {
	var in bytes.Buffer
	for prefix, list := range map[string][]string{"": tips, "^": not} {
		for _, id := range list {
			if _, err := dm.ParseRevision(id); err != nil {
				return err
			}
			in.WriteString(prefix + id + "\n")
		}
	}
	return g.run(ctx, command{
		class: beside, dir: dir, in: &in, out: w,
		args: []string{"rev-list", "--objects", "--no-object-names", "--stdin"},
	})
}

// lines feeds one name a line.
func lines(ids iter.Seq[string]) feeder {
	return func(ctx context.Context, w io.Writer) error {
		out := bufio.NewWriter(w)
		for id := range ids {
			if _, err := dm.ParseRevision(id); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := out.WriteString(id + "\n"); err != nil {
				return err
			}
		}
		return out.Flush()
	}
}

// readHeader reads cat-file's "id type size", or io.EOF at the end.
func readHeader(out *bufio.Reader) (id, kind string, size int64, err error) {
	line, err := out.ReadString('\n')
	if err != nil {
		if err == io.EOF && line != "" {
			err = errCut
		}
		return "", "", 0, err
	}
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return "", "", 0, dm.Errorf(dm.Internal, "gitcmd.readHeader", "an object is missing").Because(fmt.Errorf("git says %.100q", line))
	}
	size, err = strconv.ParseInt(fields[2], 10, 64)
	return fields[0], fields[1], size, err
}

// IsAncestor tells whether commit b has a in its history, or is a.
func (g *Git) IsAncestor(ctx context.Context, dir string, a, b string) (bool, error) {
	for _, id := range []string{a, b} {
		if _, err := dm.ParseRevision(id); err != nil {
			return false, err
		}
	}
	err := g.run(ctx, command{class: Looks, dir: dir, args: []string{"merge-base", "--is-ancestor", "--end-of-options", a, b}})
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}
