package sync

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
)

// Refs and folders of the shell that kept folders before this program did.
const (
	shellBase     = "refs/deployment-manager/base"     // the tree of what was brought
	shellWriting  = "refs/deployment-manager/writing"  // of what a run that was killed was writing
	shellRemoving = "refs/deployment-manager/removing" // and of what it was moving away
	shellTaken    = "taken"                            // where to
	shellKept     = "kept"                             // lines of files that the user had changed, and their copies
)

// adopt finds the base of a folder that has no manifest: the one that the shell kept,
// or the commit of a clone that somebody made, such as PNDA's hook. Without any, all
// that is in the folder is the user's.
func (r *run) adopt(ctx context.Context, o *remote.Objects) (*manifest, error) {
	m := &manifest{files: map[string]remote.Version{}}
	if base, err := o.TreeOf(shellBase); err == nil {
		m.files = base
		kept, err := r.state.read(shellKept)
		for _, line := range kept {
			if path, copy, ok := strings.Cut(line, "\t"); ok && !strings.HasPrefix(line, `"`) {
				r.notes.kept[path] = copy
			}
		}
		return m, errors.Join(err, r.adoptKilled(o, m))
	}
	if r.clone == nil {
		return m, nil
	}
	commit := r.clone.commit(ctx)
	if commit == "" {
		return m, nil
	}
	if _, err := r.remote.Git.Run(ctx, "", "cat-file", "-e", commit+"^{commit}"); err != nil {
		// The user's own commits are known to .git only.
		g := r.remote.Git
		g.Env = append(g.Env[:len(g.Env):len(g.Env)], "GIT_ALTERNATE_OBJECT_DIRECTORIES="+r.clone.git.Dir+"/objects")
		if commit, err = g.Run(ctx, "", "merge-base", commit, remote.FetchedRef); err != nil {
			return m, ctx.Err()
		}
	}
	if base, err := o.TreeOf(commit); err == nil {
		m.files = base
	}
	return m, nil
}

// adoptKilled takes up what a shell was doing when it was killed. What it moved
// away goes back; what it had written is not the user's, and what it had not is not
// deleted by the user.
func (r *run) adoptKilled(o *remote.Objects, m *manifest) error {
	writing, err := o.TreeOf(shellWriting)
	if err != nil {
		return nil // it had ended well
	}
	removing, err := o.TreeOf(shellRemoving)
	if err != nil {
		removing = nil
	}
	if taken, err := r.state.Sub(shellTaken); err == nil {
		err = r.untake(taken, "", removing)
		taken.Close()
		if err != nil {
			return err
		}
	}
	for path, v := range writing {
		if mine := r.folder.Look(path); mine.Is(v.Blob) {
			m.files[path] = v
		} else if mine.Kind == disk.Absent {
			delete(m.files, path)
		}
	}
	for path := range removing {
		if r.folder.Look(path).Kind == disk.Absent {
			delete(m.files, path)
		}
	}
	return nil
}

// untake puts what lies in the folder taken back to where it was. What is in the way
// there stays, and the file lies beside it.
func (r *run) untake(taken disk.Dir, path string, removing map[string]remote.Version) error {
	names, err := taken.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		at := path + name
		if st, err := taken.Stat(name); err == nil && st.Mode&0o170000 == 0o040000 {
			in, err := taken.Sub(name)
			if err != nil {
				return err
			}
			err = r.untake(in, at+"/", removing)
			in.Close()
			if err != nil {
				return err
			}
			_ = taken.RemoveFolder(name) // when all of it went back
			continue
		}
		if was, ok := removing[at]; ok && r.folder.Look(at).Kind != disk.Absent && taken.Look(name).Is(was.Blob) {
			_ = taken.Remove(name) // ours, and what comes in its place is there
			continue
		}
		for number := 0; number < 100; number++ {
			to := at
			if number > 0 {
				to = copyName(at, "", "saved", number)
			}
			in, base, err := r.folder.Parent(to, true)
			if err != nil {
				break // it stays where it is
			}
			if err = taken.Move(name, in, base); !errors.Is(err, fs.ErrExist) {
				break
			}
		}
	}
	return nil
}

// forgetShell removes what would tell a later run of the shell's base. It is called
// when the manifest is there.
func (r *run) forgetShell(ctx context.Context) {
	var lines strings.Builder
	for _, ref := range []string{shellBase, shellWriting, shellRemoving, "refs/deployment-manager/delivered"} {
		if _, err := os.Lstat(filepath.Join(r.state.path, ref)); err == nil {
			lines.WriteString("delete " + ref + "\n")
		}
	}
	if lines.Len() > 0 {
		_, _ = r.remote.Git.Run(ctx, lines.String(), "update-ref", "--stdin") // tried again at the next run
	}
}
