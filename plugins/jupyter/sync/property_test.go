package sync_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

// names are few, so that files meet folders, and copies meet copies.
var names = []string{
	"README.ipynb", "app/a.ipynb", "app/b c.csv", "app/d", "app/d/e.ipynb", "app/d/f/g.ipynb", `app/"h".ipynb`, "app/a.ipynb/i",
	"other/-j", "other/é.ipynb", "other", "app/a.1.3.0.ipynb", "app/d.1.4.0/e.ipynb",
}

// fits tells whether a file of that name can be among all.
func fits(all files, name string) bool {
	for other := range all {
		if strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/") {
			return false
		}
	}
	return true
}

// TestAnyChanges plays random edits of the user against random deliveries. In
// every round each file of the user is as the user left it, each other file is
// the server's newest, and what the server has of a file that both changed is
// somewhere beside it. Some runs are killed before the one that ends.
func TestAnyChanges(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	for worker := range uint64(3) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed+worker)
			random := rand.New(rand.NewPCG(seed+worker, 1))
			l := newLab(t, nil)
			base, server := files{}, files{"README.ipynb": "read me"}
			l.deliver(server)
			for round := range rounds(t, 3) {
				mine := files{}
				if round > 0 {
					mine = l.edit(random, round)
				}
				if random.IntN(5) > 0 {
					server = changed(random, server, round)
					l.commit(server, random.IntN(8) > 0)
				}
				if random.IntN(2) == 0 { // a run is killed first, or two, on some disk
					l.env = []string{refuse + "=" + slices.Sorted(maps.Values(poorDisks))[random.IntN(len(poorDisks))]}
					for range 1 + random.IntN(2) {
						l.die(1 + random.IntN(70))
					}
				}
				l.sync()
				l.env = nil
				l.judge(round, base, mine, server)
				base = server
				if t.Failed() {
					return
				}
			}
		})
	}
}

// content is new, or one that both sides may come to.
func content(random *rand.Rand, who string, round int) string {
	if random.IntN(4) == 0 {
		return "common"
	}
	return fmt.Sprint(who, " ", round, " ", random.IntN(1000))
}

func changed(random *rand.Rand, server files, round int) files {
	next := maps.Clone(server)
	for range 1 + random.IntN(5) {
		name := names[random.IntN(len(names))]
		delete(next, name)
		if random.IntN(3) > 0 && fits(next, name) {
			next[name] = content(random, "server", round)
		}
	}
	if len(next) == 0 {
		next["README.ipynb"] = "read me"
	}
	return next
}

// edit changes the user's folder at random and returns what is there then.
func (l *lab) edit(random *rand.Rand, round int) files {
	l.Helper()
	all := l.there()
	for range random.IntN(5) {
		name := names[random.IntN(len(names))]
		if _, ok := all[name]; ok {
			l.must(os.Remove(l.path(name)))
			delete(all, name)
			for dir := path.Dir(name); dir != "." && os.Remove(l.path(dir)) == nil; dir = path.Dir(dir) {
				continue // an empty folder goes, too
			}
		}
		if random.IntN(3) > 0 && fits(all, name) && os.MkdirAll(l.path(path.Dir(name)), 0o700) == nil {
			if info, err := os.Stat(l.path(name)); err == nil && info.IsDir() {
				continue // empty, but there
			}
			all[name] = content(random, "user", round)
			l.write(files{name: all[name]})
		}
	}
	return all
}

// judge compares the folder after a run with what base, the user and the server
// had before.
func (l *lab) judge(round int, base, mine, server files) {
	l.Helper()
	got := l.there()
	expected := files{} // at their own paths
	for name, content := range mine {
		was, delivered := base[name]
		now, still := server[name]
		switch {
		case !delivered || content != was: // the user's
			expected[name] = content
		case still:
			expected[name] = now
		}
	}
	var beside []string
	for name, content := range server {
		own, there := mine[name]
		was, delivered := base[name]
		switch {
		case there && delivered && own == was, there && own == content:
		case there && (!delivered || was != content):
			beside = append(beside, name)
		case there:
		case delivered: // the user deleted it
		case fits(expected, name):
			expected[name] = content
		default:
			beside = append(beside, name)
		}
	}
	for name, want := range expected {
		if got[name] != want {
			l.Errorf("round %d: %s is %q, want %q", round, name, got[name], want)
		}
	}
	for _, name := range beside {
		if !copied(got, name, server[name]) {
			l.Errorf("round %d: nothing beside %s has %q", round, name, server[name])
		}
	}
	for name := range got {
		_, was := mine[name]
		if _, want := expected[name]; !want && (was || !copyName(name)) {
			l.Errorf("round %d: %s is there and must not be: %q", round, name, got[name])
		}
	}
	if l.Failed() {
		l.Logf("base %q\nmine %q\nserver %q\ngot %q", base, mine, server, got)
	}
}

// copyName tells whether a name is one that the script gives: with a version of
// the package or, outside of applications, with a commit.
func copyName(name string) bool {
	return strings.Contains(name, ".1.") || strings.HasPrefix(name, "README.") && name != "README.ipynb" || strings.HasPrefix(name, "other.")
}

// copied tells whether a file beside name has content.
func copied(got files, name, content string) bool {
	for other, has := range got {
		if has == content && other != name && copyName(other) {
			return true
		}
	}
	return false
}
