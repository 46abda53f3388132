package sync_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpgrade takes over folders that the shell of before kept: one whose run had
// ended, and some whose runs were killed at different steps. Each archive holds a
// home and the server's repository, as that shell's own tests had left them. Nothing
// is taken for changed, nothing of the user is lost, and what was deleted stays away.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/shell/*.tar.gz")
	if err != nil || len(archives) < 4 {
		t.Fatalf("archives of homes: %q, %v", archives, err)
	}
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".tar.gz"), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.must(os.RemoveAll(l.home()))
			l.must(os.RemoveAll(l.repository()))
			if out, err := exec.Command("tar", "-xzf", archive, "-C", l.root).CombinedOutput(); err != nil {
				t.Fatalf("tar: %v\n%s", err, out)
			}
			one := with(files{"app/gone/gone.ipynb": "gone", "app/mine.ipynb": "mine", "app/own.ipynb": "own"})
			two := with(files{
				"app/a.ipynb": "a two", "app/b.ipynb": "b two", "app/mine.ipynb": "mine", "app/mine.1.2.0.ipynb": "mine two", "app/new.ipynb": "new",
				"app/run": "x! run two", "app/own.ipynb": "own",
			})
			l.commits = 2
			if strings.Contains(archive, "ended") {
				l.commits = 1
				l.sync()
				l.want(one)
				l.deliver(with(files{
					"app/a.ipynb": "a two", "app/b.ipynb": "b two", "app/mine.ipynb": "mine two", "app/deleted.ipynb": "deleted two", "app/new.ipynb": "new",
					"app/run": "x! run two",
				}))
			}
			l.sync()
			l.want(two)
			if strings.Contains(archive, "ended") {
				l.status("`app/deleted.ipynb`", "`app/mine.ipynb`: the delivered version is in `app/mine.1.2.0.ipynb`")
			}
			l.deliver(with(files{"app/a.ipynb": "a three"}))
			l.sync()
			for name := range two {
				if _, still := first[name]; !still && name != "app/mine.ipynb" && name != "app/mine.1.2.0.ipynb" && name != "app/own.ipynb" {
					delete(two, name)
				}
			}
			two["app/a.ipynb"], two["app/b.ipynb"], two["app/run"] = "a three", first["app/b.ipynb"], first["app/run"]
			l.want(two)
			l.git("fsck")
		})
	}
}
