package sync_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync"
)

// first is what most cases begin with.
var first = files{
	"README.ipynb": "read me", "app/a.ipynb": "a one", "app/b.ipynb": "b one", "app/data/c.csv": "c one", "app/run": "x! run one",
}

// with is first with changes; an empty content takes the file away.
func with(changes files) files {
	all := files{}
	for name, content := range first {
		all[name] = content
	}
	for name, content := range changes {
		if content == "" {
			delete(all, name)
		} else {
			all[name] = content
		}
	}
	return all
}

// cases are what can come together; each begins in a folder that has first.
var cases = []struct {
	name string
	run  func(*lab)
}{
	{"nothing new", func(l *lab) {
		l.sync()
		l.want(first)
	}},
	{"a change, an addition and a removal arrive", func(l *lab) {
		l.deliver(with(files{"app/a.ipynb": "a two", "app/new/d.ipynb": "d", "app/b.ipynb": "", "app/run": "x! run two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "a two", "app/new/d.ipynb": "d", "app/b.ipynb": "", "app/run": "x! run two"}))
		if info, err := os.Stat(l.path("app/run")); err != nil || info.Mode()&0o100 == 0 {
			l.Errorf("app/run: %v, %v; want a program", info, err)
		}
		if out := l.git("status", "--porcelain"); out != "" {
			l.Errorf("git status says %q, want a clean clone", out)
		}
	}},
	{"both changed a file", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		version := l.deliver(with(files{"app/a.ipynb": "a two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a." + version + ".ipynb": "a two"}))
		l.status("`app/a.ipynb`: the delivered version is in `app/a."+version+".ipynb`", "up to date")
		l.sync()
		l.status("`app/a.ipynb`: the delivered version is in `app/a." + version + ".ipynb`")
	}},
	{"both changed a file, several times", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		two := l.deliver(with(files{"app/a.ipynb": "a two"}))
		l.sync()
		l.write(files{"app/a." + two + ".ipynb": "two, edited"})
		three := l.deliver(with(files{"app/a.ipynb": "a three", "app/b.ipynb": "b three"}))
		l.sync()
		l.want(with(files{
			"app/a.ipynb": "mine", "app/a." + two + ".ipynb": "two, edited", "app/a." + three + ".ipynb": "a three", "app/b.ipynb": "b three",
		}))
		l.remove("app/a." + three + ".ipynb")
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a." + two + ".ipynb": "two, edited", "app/b.ipynb": "b three"}))
	}},
	{"the name of the copy is taken", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "mine too", "app/a.1.2.0.2.ipynb": "a two"})
		l.deliver(with(files{"app/a.ipynb": "a two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "mine too", "app/a.1.2.0.2.ipynb": "a two"}))
	}},
	{"both made the same change", func(l *lab) {
		l.write(files{"app/a.ipynb": "a two", "app/new.ipynb": "new"})
		l.deliver(with(files{"app/a.ipynb": "a two", "app/new.ipynb": "new"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "a two", "app/new.ipynb": "new"}))
		l.deliver(with(files{"app/a.ipynb": "a three", "app/new.ipynb": "newer"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "a three", "app/new.ipynb": "newer"}))
	}},
	{"what the user deleted stays away", func(l *lab) {
		l.remove("app/a.ipynb", "app/data")
		l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "", "app/data/c.csv": "", "app/b.ipynb": "b two"}))
		l.status("## Deleted by you", "- `app/a.ipynb`")
		l.git("checkout", "main", "--", "app/a.ipynb")
		l.want(with(files{"app/a.ipynb": "a two", "app/data/c.csv": "", "app/b.ipynb": "b two"}))
	}},
	{"a destroyed application leaves what the user made", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine", "app/own.ipynb": "own"})
		l.deliver(files{"README.ipynb": "read me"})
		l.sync()
		l.want(files{"README.ipynb": "read me", "app/a.ipynb": "mine", "app/own.ipynb": "own"})
		l.status("## No longer delivered", "- `app/a.ipynb`")
		l.deliver(first)
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.3.0.ipynb": "a one", "app/own.ipynb": "own"}))
	}},
	{"a destroyed application goes with its folder", func(l *lab) {
		l.deliver(files{"README.ipynb": "read me"})
		l.sync()
		if _, err := os.Stat(l.path("app")); err == nil {
			l.Error("the folder of the application is still there")
		}
	}},
	{"a file of the user is in the way", func(l *lab) {
		l.write(files{"app/new.ipynb": "mine", ".gitignore": "*.ipynb\n", "app/.gitignore": "*\n"})
		l.deliver(with(files{"app/new.ipynb": "new"}))
		l.sync()
		l.want(with(files{"app/new.ipynb": "mine", "app/new.1.2.0.ipynb": "new", ".gitignore": "*.ipynb\n", "app/.gitignore": "*\n"}))
	}},
	{"a folder of the user is in the way", func(l *lab) {
		l.write(files{"app/new.ipynb/mine": "mine"})
		l.remove("app/a.ipynb")
		l.write(files{"app/a.ipynb/mine": "mine"})
		l.deliver(with(files{"app/new.ipynb": "new", "app/a.ipynb": "a two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "", "app/a.ipynb/mine": "mine", "app/new.ipynb/mine": "mine", "app/new.1.2.0.ipynb": "new"}))
	}},
	{"a file of the user is where a folder must be", func(l *lab) {
		l.write(files{"app/sub": "mine"})
		l.deliver(with(files{"app/sub/e.ipynb": "e", "app/sub/f/g.ipynb": "g"}))
		l.sync()
		l.want(with(files{"app/sub": "mine", "app/sub.1.2.0/e.ipynb": "e", "app/sub.1.2.0/f/g.ipynb": "g"}))
	}},
	{"a file becomes a folder and a folder a file", func(l *lab) {
		l.deliver(with(files{"app/a.ipynb": "", "app/a.ipynb/x": "x", "app/data/c.csv": "", "app/data": "now a file"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "", "app/a.ipynb/x": "x", "app/data/c.csv": "", "app/data": "now a file"}))
	}},
	{"a changed file becomes a folder", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine", "app/data/own": "own"})
		l.deliver(with(files{"app/a.ipynb": "", "app/a.ipynb/x": "x", "app/data/c.csv": "", "app/data": "now a file"}))
		l.sync()
		l.want(with(files{
			"app/a.ipynb": "mine", "app/a.ipynb.1.2.0/x": "x", "app/data/c.csv": "", "app/data/own": "own", "app/data.1.2.0": "now a file",
		}))
	}},
	{"links that lead out are not followed", func(l *lab) {
		outside := l.home() + "/outside"
		l.must(os.MkdirAll(outside+"/deep", 0o700))
		l.must(os.Rename(l.path("app/data"), outside+"/data"))
		l.must(os.Symlink(outside+"/data", l.path("app/data")))
		l.must(os.Symlink(outside, l.path("other")))
		l.must(os.Symlink(outside+"/nowhere", l.path("app/new.ipynb")))
		l.deliver(with(files{"app/data/c.csv": "c two", "app/data/d.csv": "d", "other/deep/x": "x", "app/new.ipynb": "new"}))
		l.sync()
		l.want(with(files{
			"app/data/c.csv": "", "app/data": "-> " + outside + "/data", "other": "-> " + outside, "app/new.ipynb": "-> " + outside + "/nowhere",
			"app/new.1.2.0.ipynb": "new", "app/data.1.2.0/d.csv": "d", "other.1.2.0/deep/x": "x",
		}))
		if out, err := exec.Command("find", outside, "-type", "f").Output(); err != nil || string(out) != outside+"/data/c.csv\n" {
			l.Errorf("outside there is %q, %v; want what the user had", out, err)
		}
	}},
	{"unusual names", func(l *lab) {
		odd := files{}
		for _, name := range []string{"-rf", "a b", ` "quoted" .ipynb`, "$(touch x)", "`touch x`", "*", "é/ü ñ.ipynb", "#", "x;y", "'", ".hidden", "no\u00a0break", "~", "a..b", "%20%s",
			"می\u200cخواهم/کتاب\u200cها.ipynb", "क्\u200dष.csv", "👩🏽\u200d🔬.txt", "❤\ufe0f\u200d🔥", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f.png"} {
			odd["app/"+name] = "one " + name
		}
		l.deliver(odd)
		l.sync()
		l.want(odd)
		edited := files{}
		for name := range odd {
			l.write(files{name: "mine " + name})
			edited[name] = "mine " + name
			odd[name] = "two " + name
		}
		l.deliver(odd)
		l.sync()
		got := l.there()
		if len(got) != 2*len(odd) {
			l.Errorf("%d files are there, want each with a copy: %q", len(got), got)
		}
		for name, content := range edited {
			if got[name] != content {
				l.Errorf("%s is %q, want the user's", name, got[name])
			}
		}
		copies := files{
			"app/ \"quoted\" .1.3.0.ipynb": "two app/ \"quoted\" .ipynb", "app/-rf.1.3.0": "two app/-rf",
			"app/.hidden.1.3.0": "two app/.hidden", "app/é/ü ñ.1.3.0.ipynb": "two app/é/ü ñ.ipynb",
			"app/می\u200cخواهم/کتاب\u200cها.1.3.0.ipynb": "two app/می\u200cخواهم/کتاب\u200cها.ipynb", "app/👩🏽\u200d🔬.1.3.0.txt": "two app/👩🏽\u200d🔬.txt",
		}
		for name, want := range copies {
			if got[name] != want {
				l.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
	}},
	{"modes make no file the user's", func(l *lab) {
		l.must(os.Chmod(l.path("app/a.ipynb"), 0o600))
		l.must(os.Chmod(l.path("app/b.ipynb"), 0o777))
		l.must(os.Chmod(l.path("app/run"), 0o640))
		changed := with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two", "app/run": "x! run two"})
		l.deliver(changed)
		l.sync()
		l.want(changed)
		for name, want := range map[string]os.FileMode{"app/a.ipynb": 0o600, "app/b.ipynb": 0o777, "app/run": 0o640} {
			if info, err := os.Stat(l.path(name)); err != nil || info.Mode() != want {
				l.Errorf("%s: %v, %v; want it with the user's mode, %v", name, info, err, want)
			}
		}
	}},
	{"a file becomes a program", func(l *lab) {
		l.must(os.Chmod(l.path("app/a.ipynb"), 0o640))
		l.deliver(with(files{"app/a.ipynb": "x! a"}))
		l.sync()
		if info, err := os.Stat(l.path("app/a.ipynb")); err != nil || info.Mode() != 0o750 {
			l.Errorf("app/a.ipynb: %v, %v; want a program for those who may read it", info, err)
		}
	}},
	{"a delivered file in the place of our own files", func(l *lab) {
		l.deliver(with(files{".deployment-manager/commondir": "../evil", "evil/config": "[core]\n\tfsmonitor = touch ran\n"}))
		l.sync()
		l.want(with(files{"evil/config": "[core]\n\tfsmonitor = touch ran\n"}))
		l.status("Not delivered", "`.deployment-manager/commondir`")
	}},
	{"filters and attributes of the user hide no change", func(l *lab) {
		l.git("config", "filter.strip.clean", "echo a one")
		l.git("config", "filter.strip.required", "true")
		l.git("config", "core.autocrlf", "true")
		l.write(files{".gitattributes": "*.ipynb filter=strip\n*.csv text eol=lf\n", "app/a.ipynb": "mine", "app/data/c.csv": "c one\r\n"})
		l.deliver(with(files{"app/a.ipynb": "a two", "app/data/c.csv": "c two\n"}))
		l.sync()
		l.want(with(files{
			".gitattributes": "*.ipynb filter=strip\n*.csv text eol=lf\n", "app/a.ipynb": "mine", "app/data/c.csv": "c one\r\n",
			"app/a.1.2.0.ipynb": "a two", "app/data/c.1.2.0.csv": "c two\n",
		}))
	}},
	{"the user's commits stay", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		l.git("commit", "-qam", "mine")
		tip := l.git("rev-parse", "main")
		l.deliver(with(files{"app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/b.ipynb": "b two"}))
		l.status("commits of your own")
		if got := l.git("rev-parse", "main"); got != tip {
			l.Errorf("main moved to %s", got)
		}
	}},
	{"another branch, a detached HEAD and a rebase", func(l *lab) {
		for i, args := range [][]string{{"checkout", "-qb", "own"}, {"checkout", "-q", "--detach"}} {
			l.git(args...)
			head := l.git("rev-parse", "HEAD")
			changed := with(files{"app/b.ipynb": strings.Repeat("b", i+2)})
			l.deliver(changed)
			l.sync()
			l.want(changed)
			l.status("branch of your own")
			if got := l.git("rev-parse", "HEAD"); got != head {
				l.Errorf("HEAD moved to %s", got)
			}
		}
		l.git("symbolic-ref", "HEAD", "refs/heads/main")
		l.must(os.Mkdir(l.path(".git/rebase-merge"), 0o700))
		l.deliver(with(files{"app/b.ipynb": "last"}))
		l.sync()
		l.want(with(files{"app/b.ipynb": "last"}))
		l.status("branch of your own, or in the middle")
	}},
	{"staged changes stay staged", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		l.git("add", "app/a.ipynb")
		l.deliver(with(files{"app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/b.ipynb": "b two"}))
		if got := l.git("diff", "--cached", "--name-only"); got != "app/a.ipynb\n" {
			l.Errorf("staged is %q", got)
		}
		l.status("staged changes")
	}},
	{"the user pulled", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		l.deliver(with(files{"app/b.ipynb": "b two"}))
		l.git("pull", "-q", "--ff-only")
		l.deliver(with(files{"app/b.ipynb": "b three"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/b.ipynb": "b three"}))
	}},
	{"a broken .git", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		for _, name := range []string{"HEAD", "config", "index"} {
			l.must(os.WriteFile(l.path(".git/"+name), []byte("garbage\x00"), 0o600))
		}
		l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two", "app/b.ipynb": "b two"}))
		l.status("can't read the repository")
	}},
	{"no .git any more", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		l.remove(".git", "app/b.ipynb")
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.1.0.ipynb": "a one"}))
		l.deliver(with(files{"app/data/c.csv": "c two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.1.0.ipynb": "a one", "app/data/c.csv": "c two"}))
	}},
	{"a .git that is a file", func(l *lab) {
		l.must(os.Rename(l.path(".git"), l.home()+"/elsewhere"))
		l.must(os.WriteFile(l.path(".git"), []byte("gitdir: "+l.home()+"/elsewhere\n"), 0o600))
		l.write(files{"app/a.ipynb": "mine"})
		l.sync()
		l.deliver(with(files{"app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.1.0.ipynb": "a one", "app/b.ipynb": "b two"}))
	}},
	{"our own state is broken", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		for _, name := range []string{"HEAD", "config", "manifest", "notes", "journal"} {
			l.must(os.WriteFile(l.path(".git/deployment-manager/"+name), []byte("garbage\x00"), 0o600))
		}
		for _, name := range []string{"index", "HEAD", "config", "refs/deployment-manager/fetched", "packed-refs"} {
			l.must(os.WriteFile(l.path(".git/deployment-manager/"+name+".lock"), nil, 0o600))
		}
		l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two", "app/b.ipynb": "b two"}))
	}},
	{"a crash of the machine left empty refs", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		l.must(os.WriteFile(l.path(".git/deployment-manager/refs/deployment-manager/fetched"), nil, 0o600))
		l.must(os.Truncate(l.path(".git/deployment-manager/manifest"), 100))
		l.must(os.WriteFile(l.path(".git/deployment-manager/journal"), []byte("half a li"), 0o600))
		l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two", "app/b.ipynb": "b two"}))
	}},
	{"what was fetched is damaged", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		packs, err := filepath.Glob(l.path(".git/deployment-manager/objects/pack/*.pack"))
		if err != nil || len(packs) == 0 {
			l.Fatalf("packs: %q, %v", packs, err)
		}
		for _, pack := range packs {
			l.must(os.Remove(pack))
		}
		l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two", "app/b.ipynb": "b two"}))
		l.git("fsck")
	}},
	{"a file of what was fetched is damaged", func(l *lab) {
		l.deliver(with(files{"app/a.ipynb": strings.Repeat("a two ", 500), "app/b.ipynb": strings.Repeat("b two ", 500)}))
		_ = l.command(l.Context(), at+"=3=EROFS").Run() // it fetches, and can write nothing
		packs, err := filepath.Glob(l.path(".git/deployment-manager/objects/pack/*.pack"))
		l.must(err)
		for _, pack := range packs {
			content, err := os.ReadFile(pack)
			l.must(err)
			for i := len(content) - 60; i < len(content)-30; i++ {
				content[i] ^= 0x55
			}
			l.must(os.Chmod(pack, 0o600))
			l.must(os.WriteFile(pack, content, 0o600))
		}
		l.sync()
		l.want(with(files{"app/a.ipynb": strings.Repeat("a two ", 500), "app/b.ipynb": strings.Repeat("b two ", 500)}))
		l.git("fsck")
	}},
	{"history was written anew", func(l *lab) {
		l.write(files{"app/a.ipynb": "mine"})
		l.commit(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}), false)
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two", "app/b.ipynb": "b two"}))
		if got := l.git("log", "--oneline", "main"); strings.Count(got, "\n") != 1 {
			l.Errorf("main is not at the new history: %s", got)
		}
	}},
	{"a SYNC.md of the user", func(l *lab) {
		l.write(files{"SYNC.md": "mine\n"})
		l.sync()
		l.status("mine\n")
		l.remove("SYNC.md")
		l.must(os.Symlink("app/a.ipynb", l.path("SYNC.md")))
		l.sync()
		l.want(first)
	}},
	{"PNDA's hook and ours by turns", func(l *lab) {
		l.deliver(with(files{"app/b.ipynb": "b two"}))
		l.must(os.RemoveAll(l.folder()))
		address := strings.Replace(l.URL, "//", "//"+user+":"+token+"@", 1)
		l.git("clone", "-q", address+"/jupyter-"+user, l.folder())
		l.git("remote", "set-url", "origin", l.URL+"/jupyter-"+user)
		l.write(files{"app/a.ipynb": "mine"})
		l.remove("README.ipynb")
		l.deliver(with(files{"app/a.ipynb": "a three", "app/b.ipynb": "b three"}))
		l.sync()
		l.want(with(files{"README.ipynb": "", "app/a.ipynb": "mine", "app/a.1.3.0.ipynb": "a three", "app/b.ipynb": "b three"}))
		if got := l.git("status", "-s", "-uno"); got != " D README.ipynb\n M app/a.ipynb\n" {
			l.Errorf("git status: %q", got)
		}
	}},
}

func TestCases(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.sync()
			l.want(first)
			c.run(l)
		})
	}
}

// TestScript holds the script to what it says of itself.
func TestScript(t *testing.T) {
	t.Parallel()
	script := string(sync.Script())
	if !strings.HasPrefix(script, "#!/bin/sh\n") || !strings.HasSuffix(script, "\nmain\n") {
		t.Error("the script must begin with #!/bin/sh, and only its last line may do something: a part of it may arrive")
	}
	if found := regexp.MustCompile(`(?m)\b(rm|unlink|eval)\b.*`).FindString(script); found != "" {
		t.Errorf("the script has %q", found)
	}
}
