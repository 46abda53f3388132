package sync_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// deadly counts the programs that the script starts and ends all of it, without
// a chance to clean up, instead of program number DM_TEST_DIE; when that is to
// write files, in the middle of one.
const deadly = `#!/bin/sh
number=0
{ read -r number <"$DM_TEST_COUNT"; } 2>/dev/null
number=$(($number + 1))
echo "$number" >"$DM_TEST_COUNT"
if test "$number" = "$DM_TEST_DIE"; then
	case $* in *checkout-index*) (ulimit -f 1 && '%[1]s' "$@") ;; esac
	kill -9 0
fi
exec '%[1]s' "$@"
`

// steps is a lab whose runs can be ended at each program that they start.
type steps struct {
	*lab
	bin, count string
}

func newSteps(l *lab) *steps {
	l.Helper()
	s := &steps{l, filepath.Join(l.root, "bin"), filepath.Join(l.root, "count")}
	l.must(os.Mkdir(s.bin, 0o700))
	for _, name := range []string{"git", "mv", "ln", "mkdir", "rmdir"} {
		real, err := exec.LookPath(name)
		l.must(err)
		l.must(os.WriteFile(filepath.Join(s.bin, name), fmt.Appendf(nil, deadly, real), 0o700))
	}
	return s
}

// die runs the script until program number n is to start, and returns how many
// were begun.
func (s *steps) die(n int) int {
	s.Helper()
	s.must(os.WriteFile(s.count, []byte("0\n"), 0o600))
	cmd := s.command(s.Context(), "PATH="+s.bin+":"+os.Getenv("PATH"), "DM_TEST_COUNT="+s.count, "DM_TEST_DIE="+strconv.Itoa(n))
	_ = cmd.Run() // it is killed, unless it has fewer steps
	text, err := os.ReadFile(s.count)
	s.must(err)
	count, err := strconv.Atoi(strings.TrimSpace(string(text)))
	s.must(err)
	return count
}

// serveCommit makes commit what the server has.
func (s *steps) serveCommit(commit string) {
	s.Helper()
	s.git("--git-dir", s.repository(), "update-ref", "refs/heads/main", commit)
}

// TestEachStepKilled ends two runs at chosen steps, with a newer delivery
// before the second or not, and lets a third one finish: no file of the user is
// lost, and none of ours is taken for the user's. DM_TEST_ROUNDS tries all steps.
func TestEachStepKilled(t *testing.T) {
	t.Parallel()
	s := newSteps(newLab(t, []string{"dash"}))
	long := func(text string) string { return strings.Repeat(text+" ", 500) }
	one := files{
		"README.ipynb": "read me", "app/same.ipynb": "same", "app/changed.ipynb": long("one"), "app/mine.ipynb": long("one"),
		"app/back.ipynb": "one", "app/gone/gone.ipynb": "one", "app/flat": "one", "other/changed.ipynb": long("one"),
	}
	two := maps.Clone(one)
	maps.Copy(two, files{
		"app/changed.ipynb": long("two"), "app/mine.ipynb": long("two"), "app/new.ipynb": long("two"), "new/new.ipynb": long("two"),
		"app/flat/new.ipynb": "two", "other/changed.ipynb": long("two"),
	})
	for _, name := range []string{"app/flat", "app/back.ipynb", "app/gone/gone.ipynb"} {
		delete(two, name)
	}
	three := maps.Clone(two)
	maps.Copy(three, files{"app/changed.ipynb": "three", "app/mine.ipynb": "three", "app/new.ipynb": "three", "app/back.ipynb": "three"})
	delete(three, "new/new.ipynb")
	s.deliver(one)
	s.sync()
	s.write(files{"app/mine.ipynb": "mine", "app/own.ipynb": "own"})
	s.must(os.Rename(s.home(), s.home()+".before"))
	s.deliver(two)
	commitTwo := strings.TrimSpace(s.git("--git-dir", s.repository(), "rev-parse", "main"))
	s.deliver(three)
	commitThree := strings.TrimSpace(s.git("--git-dir", s.repository(), "rev-parse", "main"))

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	stride := 25
	if rounds(t, 0) > 0 {
		stride = 1
	}
	restore := func() {
		s.must(os.RemoveAll(s.home()))
		if out, err := exec.Command("cp", "-a", s.home()+".before", s.home()).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
		s.serveCommit(commitTwo)
	}
	restore()
	last := s.die(0) // a whole run
	for n := 1 + random.IntN(stride); n <= last; n += stride {
		restore()
		s.die(n)
		server, version := two, "1.2.0"
		if random.IntN(2) == 0 {
			s.serveCommit(commitThree)
			server, version = three, "1.3.0"
		}
		second := 1 + random.IntN(last)
		s.die(second)
		s.sync()
		want := maps.Clone(server)
		maps.Copy(want, files{
			"app/mine.ipynb": "mine", "app/own.ipynb": "own", "app/mine." + version + ".ipynb": server["app/mine.ipynb"],
		})
		// What was written before the kill, of the delivery of that time.
		if s.there()["app/mine.1.2.0.ipynb"] == two["app/mine.ipynb"] {
			want["app/mine.1.2.0.ipynb"] = two["app/mine.ipynb"]
		}
		s.want(want)
		if t.Failed() {
			t.Fatalf("killed at steps %d and %d of %d, then came %s", n, second, last, version)
		}
	}
	t.Logf("%d steps", last)
}

// TestNoLinks: on a disk that knows no links files are moved, and what the user
// saves stays all the same.
func TestNoLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t, []string{"dash"})
	bin := t.TempDir()
	l.must(os.WriteFile(filepath.Join(bin, "ln"), []byte("#!/bin/sh\nexit 1\n"), 0o700))
	l.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	l.deliver(first)
	l.sync()
	l.want(first)
	l.write(files{"app/a.ipynb": "mine", "app/new.ipynb": "mine"})
	l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two", "app/new.ipynb": "new", "app/data/c.csv": ""}))
	l.sync()
	l.want(with(files{
		"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two", "app/b.ipynb": "b two",
		"app/new.ipynb": "mine", "app/new.1.2.0.ipynb": "new", "app/data/c.csv": "",
	}))
}
