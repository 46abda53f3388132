package pack_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// repository is a bare repository of a test.
type repository struct {
	dir  string // git directory
	pack string // its objects/pack
}

func newRepository(t testing.TB) repository {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r.git")
	r := repository{dir, filepath.Join(dir, "objects", "pack")}
	r.git(t, nil, "init", "-q", "--bare", dir)
	return r
}

// newFolder is a repository as far as a Writer sees it, for tests without git.
func newFolder(t testing.TB) repository {
	dir := t.TempDir()
	return repository{dir, dir}
}

// git runs the git program, isolated from the machine's configuration.
func (r repository) git(t testing.TB, stdin []byte, args ...string) string {
	t.Helper()
	if args[0] != "init" {
		args = append([]string{"--git-dir", r.dir}, args...)
	}
	cmd := exec.Command("git", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(r.dir), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

func (r repository) create(t testing.TB) *pack.Writer {
	t.Helper()
	w, err := pack.Create(pack.Config{Dir: r.pack, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Abort)
	return w
}

// files lists the folder, for tests that nothing stays behind.
func (r repository) files(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(r.pack)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// noise is incompressible and text compressible content, the same in every run.
func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

var lines = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&b, "line %d of a file that shrinks well, %x\n", i, i*i)
	}
	return b.Bytes()
})

func text(size int) []byte { return bytes.Repeat(lines(), size/len(lines())+1)[:size:size] }

var sizes = []int{0, 1, 15, 16, 17, 2047, 2048, 65534, 65535, 65536, 131070, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 77}

func TestWriterMakesWhatGitReads(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	w := r.create(t)
	var contents [][]byte
	var entries []*pack.Entry
	add := func(content []byte, write func(int64, io.Reader) (*pack.Entry, error)) {
		t.Helper()
		e, err := write(int64(len(content)), bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		contents, entries = append(contents, content), append(entries, e)
	}
	for _, size := range sizes {
		add(noise(size), w.Blob)
		add(text(size), w.Blob)
		add(append([]byte("stored"), noise(size)...), w.Stored)
		if size < 1<<20 {
			add(append([]byte("added"), text(size)...), func(int64, io.Reader) (*pack.Entry, error) {
				content := append([]byte("added"), text(size)...)
				h, err := w.Add(plumbing.BlobObject, content)
				return &pack.Entry{Hash: h, Size: int64(len(content))}, err
			})
		}
	}
	if h, err := w.Add(plumbing.TreeObject, nil); err != nil || !w.Has(h) {
		t.Errorf("an empty object: %v", err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var tree bytes.Buffer
	for i, e := range entries {
		fmt.Fprintf(&tree, "100644 f%03d\x00%s", i, e.Hash[:])
	}
	treeHash, err := w.Add(plumbing.TreeObject, tree.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	commit := fmt.Sprintf("tree %s\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\ntext\n", treeHash)
	commitHash, err := w.Add(plumbing.CommitObject, []byte(commit))
	if err != nil {
		t.Fatal(err)
	}
	tag := fmt.Sprintf("object %s\ntype commit\ntag v1\ntagger a <a@b> 1 +0000\n\ntext\n", commitHash)
	tagHash, err := w.Add(plumbing.TagObject, []byte(tag))
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Commit("")
	if err != nil {
		t.Fatal(err)
	}
	if names, err := pack.Names(pack.Path(r.pack, p.Name)); err != nil || p.Objects != len(names) {
		t.Errorf("pack tells of %d objects, its index of %d, %v", p.Objects, len(names), err)
	}
	r.git(t, nil, "update-ref", "refs/tags/v1", tagHash.String())
	if out := r.git(t, nil, "fsck", "--strict", "--full", "--no-dangling"); out != "" {
		t.Errorf("git fsck says %q", out)
	}
	path := pack.Path(r.pack, p.Name)
	r.git(t, nil, "index-pack", "--strict", "-o", filepath.Join(t.TempDir(), "x.idx"), path)
	r.git(t, nil, "verify-pack", "-v", path)
	var ask, want bytes.Buffer
	for i, e := range entries {
		fmt.Fprintln(&ask, e.Hash)
		fmt.Fprintf(&want, "%s blob %d\n%s\n", e.Hash, len(contents[i]), contents[i])
	}
	if got := r.git(t, ask.Bytes(), "cat-file", "--batch"); got != want.String() {
		t.Errorf("the blobs read back as %d bytes that differ from %d", len(got), want.Len())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o444 || info.Size() != p.Size {
		t.Errorf("pack file: %v, %v, want mode 0444 and size %d", info, err, p.Size)
	}
}

// git's own index of the same pack is the oracle for ours.
func TestIndexIsThatOfGit(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	w := r.create(t)
	for i := range 600 {
		content := text(i * 3)
		if _, err := w.Blob(int64(len(content)), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := w.Commit("")
	if err != nil {
		t.Fatal(err)
	}
	path := pack.Path(r.pack, p.Name)
	want := filepath.Join(t.TempDir(), "git.idx")
	r.git(t, nil, "index-pack", "-o", want, path)
	a, err := os.ReadFile(strings.TrimSuffix(path, "pack") + "idx")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("index of %d bytes differs from git's of %d", len(a), len(b))
	}
}

func TestDuplicatesAreWrittenOnce(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	w := r.create(t)
	large, small := text(3<<20), []byte("small")
	hashes := map[plumbing.Hash]int{}
	for range 2 {
		for _, content := range [][]byte{large, small, noise(2 << 20)} {
			for _, write := range []func(int64, io.Reader) (*pack.Entry, error){w.Blob, w.Stored} {
				e, err := write(int64(len(content)), bytes.NewReader(content))
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				if !w.Has(e.Hash) {
					t.Errorf("Has(%s) = false after Flush", e.Hash)
				}
				hashes[e.Hash]++
			}
		}
		if _, err := w.Add(plumbing.BlobObject, small); err != nil {
			t.Fatal(err)
		}
	}
	p, err := w.Commit("kept for a test")
	if err != nil {
		t.Fatal(err)
	}
	if p.Objects != 3 || len(hashes) != 3 {
		t.Errorf("%d objects in the pack and %d names, want 3", p.Objects, len(hashes))
	}
	r.git(t, nil, "index-pack", "--strict", "-o", filepath.Join(t.TempDir(), "x.idx"), pack.Path(r.pack, p.Name))
	keep, err := os.ReadFile(strings.TrimSuffix(pack.Path(r.pack, p.Name), "pack") + "keep")
	if err != nil || string(keep) != "kept for a test\n" {
		t.Errorf("keep file %q, %v", keep, err)
	}
}

func TestWrongSizesAreRefusedAndNothingStays(t *testing.T) {
	t.Parallel()
	broken := errors.New("the client went away")
	cases := []struct {
		name string
		size int64
		body []byte
		then error // how the body ends
		kind dm.Kind
		text string
	}{
		{"small and short", 10, []byte("abc"), io.EOF, dm.Invalid, "ends after 3 of 10 bytes"},
		{"small and empty", 10, nil, io.EOF, dm.Invalid, "ends after 0 of 10 bytes"},
		{"small and long", 2, []byte("abc"), io.EOF, dm.Invalid, "more than 2 bytes"},
		{"zero and long", 0, []byte("abc"), io.EOF, dm.Invalid, "more than 0 bytes"},
		{"large and short in the first part", 2 << 20, text(100), io.EOF, dm.Invalid, "ends after 100 of"},
		{"large and short", 2 << 20, text(1<<20 + 9), io.EOF, dm.Invalid, "ends after 1048585 of"},
		{"large noise and short", 2 << 20, noise(1<<20 + 9), io.EOF, dm.Invalid, "ends after 1048585 of"},
		{"large and long", 2 << 20, text(2<<20 + 1), io.EOF, dm.Invalid, "more than 2097152 bytes"},
		{"small and failing", 10, nil, broken, dm.Internal, "the client went away"},
		{"large and failing", 2 << 20, text(1 << 20), broken, dm.Internal, "the client went away"},
	}
	for _, c := range cases {
		for _, method := range []string{"Blob", "Stored"} {
			t.Run(method+" "+c.name, func(t *testing.T) {
				t.Parallel()
				r := newFolder(t)
				w := r.create(t)
				write := w.Blob
				if method == "Stored" {
					write = w.Stored
				}
				_, err := write(c.size, io.MultiReader(bytes.NewReader(c.body), iotest.ErrReader(c.then)))
				if dm.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.text) {
					t.Errorf("got %v (%s), want %q (%s)", err, dm.KindOf(err), c.text, c.kind)
				}
				if c.then == broken && !errors.Is(err, broken) {
					t.Errorf("the cause is lost: %v", err)
				}
				if _, err := w.Commit(""); err == nil {
					t.Error("Commit after a failure succeeds")
				}
				w.Abort()
				if got := r.files(t); len(got) != 0 {
					t.Errorf("left behind: %v", got)
				}
			})
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) { // not parallel: it looks at all goroutines
	r := newFolder(t)
	for _, end := range []string{"abort", "commit", "failure"} {
		w := r.create(t)
		for i := range 50 {
			content := text(i * 1000)
			if _, err := w.Blob(int64(len(content)), bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
		}
		switch end {
		case "commit":
			if _, err := w.Commit(""); err != nil {
				t.Fatal(err)
			}
		case "failure":
			if _, err := w.Blob(3<<20, io.MultiReader(bytes.NewReader(text(2<<20)), iotest.ErrReader(io.ErrClosedPipe))); err == nil {
				t.Error("no error")
			}
			w.Abort()
		case "abort":
			w.Abort()
			w.Abort()
			if _, err := w.Add(plumbing.BlobObject, nil); err == nil {
				t.Error("Add after Abort succeeds")
			}
			if got := r.files(t); len(got) != 0 {
				t.Errorf("left behind: %v", got)
			}
		}
		stacks := make([]byte, 1<<20)
		if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("pack.(*Writer).work")) {
			t.Errorf("after %s a worker is still there", end)
		}
	}
	if got := r.files(t); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

func TestCommitOfNothing(t *testing.T) {
	t.Parallel()
	r := newFolder(t)
	p, err := r.create(t).Commit("keep")
	if err != nil || !p.IsZero() {
		t.Errorf("got %v, %v, want no pack and no error", p, err)
	}
	if got := r.files(t); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestAbortAfterCommitKeepsThePack(t *testing.T) {
	t.Parallel()
	r := newFolder(t)
	w := r.create(t)
	if _, err := w.Add(plumbing.BlobObject, []byte("a")); err != nil {
		t.Fatal(err)
	}
	p, err := w.Commit("why")
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	base := "pack-" + p.Name.String()
	if got, want := r.files(t), []string{base + ".idx", base + ".keep", base + ".pack"}; !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

var errStep = errors.New("step")

// Every step is a point where the process may die: what is left must be
// invisible to git until the index has its name, and Clean must remove it.
func TestCommitStepsAndClean(t *testing.T) {
	t.Parallel()
	steps := []string{"pack-written", "pack-synced", "pack-renamed", "index-renamed"}
	var seen []string
	for _, at := range steps {
		r := newFolder(t)
		func() {
			defer func() {
				if v := recover(); v != nil && v != any(errStep) {
					panic(v)
				}
			}()
			w, err := pack.Create(pack.Config{Dir: r.pack, Step: func(name string) {
				if at == steps[len(steps)-1] {
					seen = append(seen, name)
				}
				if name == at {
					panic(errStep) // stands for the death of the process: nothing after it runs
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Stored(3, strings.NewReader("abc")); err != nil {
				t.Fatal(err)
			}
			_, err = w.Commit("keep")
			t.Errorf("Commit returned %v", err)
		}()
		const abc = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"
		_, err := pack.Find(r.pack, plumbing.NewHash(abc))
		visible := at == "index-renamed"
		if (err == nil) != visible {
			t.Errorf("at %s: Find says %v, visible should be %v", at, err, visible)
		}
		unindexed, err := pack.Clean(r.pack)
		if err != nil {
			t.Fatal(err)
		}
		// Whole under its name, all that a pack lacks is an index, which it can get.
		want := map[string]int{"pack-renamed": 2, "index-renamed": 3}[at]
		if got := len(r.files(t)); got != want || len(unindexed) == 1 != (at == "pack-renamed") {
			t.Errorf("at %s: after Clean %v stay, without an index %v", at, r.files(t), unindexed)
		}
	}
	if !slices.Equal(seen, steps) {
		t.Errorf("steps %v, want %v", seen, steps)
	}
}
