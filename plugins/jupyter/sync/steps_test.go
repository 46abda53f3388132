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

// die runs the program until it is to make change number n, and returns how many
// it had begun.
func (l *lab) die(n int) int {
	l.Helper()
	counted := filepath.Join(l.root, "count")
	l.must(os.WriteFile(counted, []byte("0"), 0o600))
	_ = l.command(l.Context(), count+"="+counted, fmt.Sprint(die, "=", n)).Run() // it is killed, unless it has fewer steps
	text, err := os.ReadFile(counted)
	l.must(err)
	number, err := strconv.Atoi(string(text))
	l.must(err)
	return number
}

// serveCommit makes commit what the server has.
func (s *lab) serveCommit(commit string) {
	s.Helper()
	s.git("--git-dir", s.repository(), "update-ref", "refs/heads/main", commit)
}

// TestEachStepKilled ends two runs at chosen changes of the disk, with a newer delivery
// before the second or not, and lets a third one finish: no file of the user is
// lost, and none of ours is taken for the user's. DM_TEST_ROUNDS tries all steps.
func TestEachStepKilled(t *testing.T) {
	t.Parallel()
	eachStepKilled(t, "")
	for name, refused := range poorDisks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachStepKilled(t, refused)
		})
	}
}

func eachStepKilled(t *testing.T, refused string) {
	s := newLab(t, nil)
	s.env = []string{refuse + "=" + refused}
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
	stride := 15
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

// poorDisks are what some disks refuse: shares know no exchange, FUSE no rename
// that replaces nothing, SMB and FAT no links.
var poorDisks = map[string]string{
	"no exchange": "exchange=EINVAL", "NFS": "exchange=EINVAL,move=EINVAL", "no links": "exchange=EINVAL,move=EINVAL,link=EPERM",
}

// TestPoorDisks has files come, change and go where the disk can do little, and what
// the user saves stays all the same.
func TestPoorDisks(t *testing.T) {
	t.Parallel()
	for name, refused := range poorDisks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.env = []string{refuse + "=" + refused}
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
		})
	}
}
