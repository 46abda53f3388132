package gitstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/pndaproject/deployment-manager/gitstore"
)

// programs are files beside a server's.
func programs(pairs ...string) fstest.MapFS {
	folder := fstest.MapFS{"deployment-manager": {Data: []byte("the server"), Mode: 0o755}}
	for i := 0; i < len(pairs); i += 2 {
		folder["deployment-manager-sync"+pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o755}
	}
	return folder
}

func beside(folder fs.FS) option { return func(c *gitstore.Config) { c.Programs = folder } }

// bring opens a store beside the programs, and closes it.
func bring(t *testing.T, dir string, folder fs.FS) {
	t.Helper()
	h := open(t, dir, beside(folder))
	h.sound()
	h.stop()
}

// tools are the branches of the programs for pods, each with all that its commit
// leads to.
func tools(t *testing.T, dir string) string {
	t.Helper()
	repository := filepath.Join(dir, "tools.git")
	if _, err := os.Lstat(repository); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	git(t, repository, "fsck", "--strict", "--full", "--no-dangling")
	var lines []string
	for _, ref := range strings.Fields(refsOf(t, repository)) {
		branch := strings.TrimPrefix(ref, "refs/heads/")
		lines = append(lines, branch+" "+git(t, repository, "rev-list", "--count", ref)+" "+git(t, repository, "ls-tree", "--format=%(objectmode) %(path)", ref)+" "+git(t, repository, "cat-file", "blob", ref+":deployment-manager-sync-"+branch))
	}
	return strings.Join(lines, "\n")
}

// stamps tell every file below a folder, and when it was written.
func stamps(t *testing.T, dir string) (all string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		all += fmt.Sprintln(path, info.Size(), info.ModTime().UnixNano(), info.Sys().(*syscall.Stat_t).Ino)
		return err
	}))
	return all
}

// TestTools goes from one start to the next with other programs beside the server.
func TestTools(t *testing.T) {
	t.Parallel()
	const (
		amd64 = "amd64 1 100755 deployment-manager-sync-amd64 one"
		arm64 = "arm64 1 100755 deployment-manager-sync-arm64 two"
		plain = runtime.GOARCH + " 1 100755 deployment-manager-sync-" + runtime.GOARCH + " one"
	)
	dir := t.TempDir()
	repository := filepath.Join(dir, "tools.git")
	both := programs("-amd64", "one", "-arm64", "two")
	for _, step := range []struct {
		name, want string
		folder     fs.FS
	}{
		{"none", "", programs()},
		{"both", amd64 + "\n" + arm64, both},
		{"the same", amd64 + "\n" + arm64, both},
		{"nobody says which", amd64 + "\n" + arm64, nil},
		{"another", strings.ReplaceAll(amd64, "one", "six") + "\n" + arm64, programs("-amd64", "six", "-arm64", "two")},
		{"one is gone", arm64, programs("-arm64", "two")},
		{"both again", amd64 + "\n" + arm64, both},
		{"folders of their names", "", fstest.MapFS{"deployment-manager-sync-amd64/x": {}, "deployment-manager-sync/x": {}}},
		{"a plain build", plain, programs("", "one")},
		{"a plain build beside both", amd64 + "\n" + arm64, programs("-amd64", "one", "", "three", "-arm64", "two")},
		{"none any more", "", programs()},
	} {
		before := ""
		if step.name == "the same" || step.name == "nobody says which" {
			before = stamps(t, repository)
		}
		bring(t, dir, step.folder)
		got := tools(t, dir)
		switch {
		case got != step.want:
			t.Errorf("%s: the repository has\n%s\nwant\n%s", step.name, got, step.want)
		case before != "" && stamps(t, repository) != before:
			t.Errorf("%s: files were written:\n%s\nbefore\n%s", step.name, stamps(t, repository), before)
		}
	}
}

// TestToolsOfTwoServers: what differs between two servers is not in the commits.
func TestToolsOfTwoServers(t *testing.T) {
	t.Parallel()
	var names []string
	for range 2 {
		dir := t.TempDir()
		bring(t, dir, programs("-amd64", "one"))
		names = append(names, git(t, filepath.Join(dir, "tools.git"), "rev-parse", "amd64"))
	}
	if names[0] != names[1] {
		t.Errorf("the commits are %q, want the same one", names)
	}
}

// TestLargeTool: a program that is streamed is the one that was there.
func TestLargeTool(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, 3<<20)
	_, _ = random.Read(content[:2<<20]) // never fails
	dir := t.TempDir()
	bring(t, dir, programs("-arm64", string(content)))
	clone := t.TempDir()
	git(t, clone, "init", "-q")
	git(t, clone, "fetch", "-q", "--depth", "1", "file://"+filepath.Join(dir, "tools.git"), "arm64")
	git(t, clone, "checkout", "-q", "FETCH_HEAD")
	got, err := os.ReadFile(filepath.Join(clone, "deployment-manager-sync-arm64"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v; want those %d that were there", len(got), err, len(content))
	}
}

// TestDamagedTools breaks the repository in ways that git minds. The next start
// has a sound one.
func TestDamagedTools(t *testing.T) {
	t.Parallel()
	pack := func(t *testing.T, dir string) string { return packOf(t, dir, git(t, dir, "rev-parse", "amd64")) }
	for name, harm := range map[string]func(t *testing.T, dir string){
		"a flipped byte": func(t *testing.T, dir string) {
			flip(t, dir, git(t, dir, "rev-parse", "amd64:deployment-manager-sync-amd64"))
		},
		"a lost pack":     func(t *testing.T, dir string) { check(t, os.Remove(pack(t, dir)+".pack")) },
		"a lost index":    func(t *testing.T, dir string) { check(t, os.Remove(pack(t, dir)+".idx")) },
		"no refs":         func(t *testing.T, dir string) { check(t, os.Remove(dir+"/packed-refs")) },
		"an empty ref":    func(t *testing.T, dir string) { write(t, dir+"/refs/heads/amd64", "") },
		"a ref too many":  func(t *testing.T, dir string) { git(t, dir, "update-ref", "refs/heads/mine", "amd64") },
		"a ref elsewhere": func(t *testing.T, dir string) { git(t, dir, "update-ref", "refs/heads/amd64", "arm64") },
		"a broken config": func(t *testing.T, dir string) { write(t, dir+"/config", "[core") },
		"no files":        func(t *testing.T, dir string) { check(t, errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o750))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, both := t.TempDir(), programs("-amd64", "one", "-arm64", "two")
			bring(t, dir, both)
			want := tools(t, dir)
			harm(t, filepath.Join(dir, "tools.git"))
			bring(t, dir, both)
			if got := tools(t, dir); got != want {
				t.Errorf("the repository has\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// unreadable is a folder in which one program ends in an error.
type unreadable struct{ fstest.MapFS }

func (f unreadable) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if name == "deployment-manager-sync-arm64" {
		return broken{file}, err
	}
	return file, err
}

type broken struct{ fs.File }

func (broken) Read([]byte) (int, error) { return 0, syscall.EIO }

// TestToolsThatCannotBeMade: the server starts all the same, and the next start
// makes up for it.
func TestToolsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	both := programs("-amd64", "one", "-arm64", "two")
	t.Run("an unreadable program", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		bring(t, dir, unreadable{both})
		if got := tools(t, dir); got != "" {
			t.Errorf("the repository has\n%s", got)
		}
		bring(t, dir, both)
		if got := tools(t, dir); !strings.Contains(got, "one") || !strings.Contains(got, "two") {
			t.Errorf("the repository has\n%s", got)
		}
	})
	t.Run("no place for it", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		bring(t, dir, programs())
		h := open(t, dir, beside(both), func(c *gitstore.Config) {
			c.Step = func(name string) {
				if name == "aside-built" { // the last moment before the repository appears
					_ = os.MkdirAll(filepath.Join(dir, "tools.git", "somebody's"), 0o750)
				}
			}
		})
		h.sound()
		h.stop()
		bring(t, dir, both)
		if got := tools(t, dir); !strings.Contains(got, "one") || !strings.Contains(got, "two") {
			t.Errorf("the repository has\n%s", got)
		}
	})
}
