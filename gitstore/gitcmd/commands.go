package gitcmd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// Run runs any other git command on the repository dir; in and out may be nil.
// It returns when git has ended and in and out are no longer used; after a
// cancellation it does not wait for a Read or Write of theirs that is blocked.
func (g *Git) Run(ctx context.Context, dir string, in io.Reader, out io.Writer, args ...string) error {
	if len(args) == 0 {
		return dm.Errorf(dm.Internal, "gitcmd.Run", "no git command was given")
	}
	return g.run(ctx, command{class: Looks, dir: dir, in: in, out: out, args: args, writes: true})
}

// diffFile is from how many bytes on a file is only said to differ: what git
// holds of the lines of two files is many times as much.
const diffFile = "4m"

// DiffTree writes the unified difference of two trees of the repository dir. Its
// prefixes stand for git's a/ and b/. The one who reads sets the pace.
func (g *Git) DiffTree(ctx context.Context, dir string, out io.Writer, from, to Side) error {
	for _, s := range []Side{from, to} {
		if _, err := dm.ParseRevision(s.Tree); err != nil {
			return err
		}
	}
	return g.run(ctx, command{
		class: Sends, dir: dir, out: out, options: []string{"-c", "core.bigFileThreshold=" + diffFile},
		args: []string{"diff-tree", "-r", "-p", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "--no-renames",
			"--src-prefix=" + from.Prefix, "--dst-prefix=" + to.Prefix, "--end-of-options", from.Tree, to.Tree},
	})
}

// Side is one side of a difference.
type Side struct{ Tree, Prefix string }

// maxFindings limits how many lines Fsck returns.
const maxFindings = 1000

// Fsck checks the repository dir and returns one line per problem; none means
// that it is sound. full reads every object; otherwise only the connections
// between objects are checked. An error means that the check itself did not
// come to an end.
func (g *Git) Fsck(ctx context.Context, dir string, full bool) ([]string, error) {
	args := []string{"fsck", "--strict", "--no-dangling", "--no-progress"}
	if !full {
		args = append(args, "--connectivity-only")
	}
	var out bytes.Buffer
	err := g.run(ctx, command{class: Upkeep, dir: dir, out: &out, args: args})
	if err == nil {
		return nil, nil
	}
	var exit *exec.ExitError
	if dm.KindOf(err) == dm.Unavailable || !errors.As(err, &exit) || !exit.Exited() {
		return nil, err
	}
	var problems []string
	lines := bufio.NewScanner(io.MultiReader(&out, strings.NewReader("\n"+said(err))))
	for lines.Scan() && len(problems) < maxFindings {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			problems = append(problems, strings.ReplaceAll(line, dir, "."))
		}
	}
	if len(problems) == 0 {
		return nil, err
	}
	return problems, nil
}

// RepackSmall brings the loose objects and the small packs of the repository
// dir together, and leaves packs with a .keep file alone. The caller holds the
// repository's lock.
func (g *Git) RepackSmall(ctx context.Context, dir string) error {
	err := g.run(ctx, command{class: Upkeep, dir: dir, args: []string{"repack", "-q", "-n", "-d", "--geometric=2", "--write-midx"}, writes: true})
	if err != nil {
		return err
	}
	return durable.Sync(filepath.Join(dir, "objects", "pack"))
}
