package treefs

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// bare makes a repository of three packs with a small tree, and returns it
// with the tree's name.
func bare(t *testing.T) (string, plumbing.Hash) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r.git")
	if err := os.MkdirAll(repo.PackDir(dir), 0o750); err != nil {
		t.Fatal(err)
	}
	w, err := pack.Create(pack.Config{Dir: repo.PackDir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	b := repo.NewTree()
	for path, mode := range map[string]filemode.FileMode{
		"a.txt": filemode.Regular, "a/b/run.sh": filemode.Executable, "a/c": filemode.Regular, "a-b": filemode.Regular, "z": filemode.Regular,
	} {
		h, err := w.Add(plumbing.BlobObject, []byte("content of "+path))
		if err != nil {
			t.Fatal(err)
		}
		b.Set(path, mode, repo.Known(h))
	}
	tree, err := b.Write(w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(""); err != nil {
		t.Fatal(err)
	}
	return dir, tree
}

func TestTreeFS(t *testing.T) {
	t.Parallel()
	dir, tree := bare(t)
	files := New(repo.Open(dir), tree)
	if err := fstest.TestFS(files, "a.txt", "a/b/run.sh", "a/c", "a-b", "z"); err != nil {
		t.Error(err)
	}
	if got, err := fs.ReadFile(files, "a/b/run.sh"); err != nil || string(got) != "content of a/b/run.sh" {
		t.Errorf("read %q, %v", got, err)
	}
	info, err := fs.Stat(files, "a/b/run.sh")
	if err != nil || info.Mode() != 0o755 || info.Size() != 21 {
		t.Errorf("stat %v, %v", info, err)
	}
}

// TestEntryReadsATreeOnce looks a file up among a thousand. A create does so for
// every file of a package, so each look-up must not read the tree again. It is
// not parallel, because it counts allocations.
func TestEntryReadsATreeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r.git")
	if err := os.MkdirAll(repo.PackDir(dir), 0o750); err != nil {
		t.Fatal(err)
	}
	w, err := pack.Create(pack.Config{Dir: repo.PackDir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	blob, err := w.Add(plumbing.BlobObject, []byte("same"))
	if err != nil {
		t.Fatal(err)
	}
	b := repo.NewTree()
	for i := range 1000 {
		b.Set(fmt.Sprintf("data/%04d", i), filemode.Regular, repo.Known(blob))
	}
	tree, err := b.Write(w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(""); err != nil {
		t.Fatal(err)
	}
	repo := repo.Open(dir)
	allocations := testing.AllocsPerRun(10, func() {
		if e, err := repo.Entry(tree, "data/0777"); err != nil || e.Hash != blob {
			t.Errorf("entry = %v, %v", e, err)
		}
	})
	if allocations > 100 {
		t.Errorf("a look-up makes %v allocations, want at most 100", allocations)
	}
}

// TestReadAfterRepack reads through a storage that has listed packs which
// maintenance then replaced.
func TestReadAfterRepack(t *testing.T) {
	t.Parallel()
	dir, tree := bare(t)
	for path, content := range map[string]string{"HEAD": "ref: refs/heads/main\n", "config": repo.RepositoryConfig, "refs/heads/x": ""} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
			t.Fatal(err)
		}
		if content == "" {
			continue
		}
		if err := os.WriteFile(full, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	repo := repo.Open(dir)
	if _, err := repo.Tree(tree); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@t", "-C", dir}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("update-ref", "refs/heads/main", run("commit-tree", "-m", "x", tree.String()))
	run("repack", "-a", "-d", "-q")
	if got, err := repo.File(tree, "a/c"); err != nil || string(got) != "content of a/c" {
		t.Errorf("read %q, %v", got, err)
	}
}
