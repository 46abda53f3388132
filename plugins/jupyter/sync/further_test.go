package sync_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSlowHome: where each file takes long, each run brings some all the same.
func TestSlowHome(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	all := files{}
	for i := range 240 {
		all[fmt.Sprintf("app/f%03d", i)] = fmt.Sprint(i)
	}
	l.deliver(all)
	before := 0
	for range 2 {
		out := l.try("DM_SYNC_SECONDS=6", slow+"=create:60ms")
		now := len(l.there())
		if now <= before {
			t.Fatalf("%d files were there, and then %d; it told %q", before, now, out)
		}
		before = now
	}
	l.sync()
	l.want(all)
}

// TestMarkCutShort: a disk that takes a part of a line only is full.
func TestMarkCutShort(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	all := files{}
	for i := range 100 {
		all[fmt.Sprintf("app/f%03d", i)] = "one"
	}
	l.deliver(all)
	l.sync()
	for name := range all {
		all[name] = "two"
	}
	l.deliver(all)
	went := filepath.Join(l.root, "went")
	cmd := l.command(t.Context(), pause+"=1mark:"+went)
	l.must(cmd.Start())
	journal := l.path(".git/deployment-manager/journal")
	eventually(t, "all is staged", func() bool {
		names, err := os.ReadDir(l.path(".git/deployment-manager/coming"))
		_, err2 := os.Stat(journal)
		return err == nil && err2 == nil && len(names) == 100
	})
	info, err := os.Stat(journal)
	l.must(err)
	if out, err := exec.Command("prlimit", fmt.Sprintf("--fsize=%d", info.Size()+20), "--pid", fmt.Sprint(cmd.Process.Pid)).CombinedOutput(); err != nil {
		t.Fatalf("prlimit: %v\n%s", err, out)
	}
	l.must(os.WriteFile(went, nil, 0o600))
	l.must(cmd.Wait())
	l.sync()
	for name := range all {
		all[name] = "three"
	}
	l.deliver(all)
	l.sync()
	l.want(all)
}

// TestKilledGivingBack kills a run that gives back what somebody saved, at each
// change: the server's version comes beside it all the same.
func TestKilledGivingBack(t *testing.T) {
	t.Parallel()
	for name, refused := range poorDisks {
		t.Run(name, func(t *testing.T) { killedGivingBack(t, refused, "move") })
	}
	t.Run("exchange", func(t *testing.T) { killedGivingBack(t, "", "exchange") })
}

func killedGivingBack(t *testing.T, refused, change string) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	l.must(os.Rename(l.home(), l.home()+".before"))
	version := l.deliver(with(files{"app/a.ipynb": "a two"}))
	l.env = []string{refuse + "=" + refused, save + "=" + change + ":app/a.ipynb"}
	restore := func() {
		l.must(os.RemoveAll(l.home()))
		if out, err := exec.Command("cp", "-a", l.home()+".before", l.home()).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
	}
	restore()
	last, stride := l.die(0), 3
	if rounds(t, 0) > 0 {
		stride = 1
	}
	for n := 1 + rand.IntN(stride); n <= last; n += stride {
		restore()
		l.die(n)
		got := l.there()["app/a.ipynb"]
		was := l.env
		l.env = was[:1]
		l.sync()
		l.env = was
		if now := l.there(); now["app/a.ipynb"] == saved && now["app/a."+version+".ipynb"] != "a two" || got == saved && now["app/a.ipynb"] != saved {
			t.Errorf("killed at %d of %d: there was %q, then %q", n, last, got, now)
		}
	}
}

// TestGitHangs: a git that hangs is told as too little time, and nothing of it is left.
func TestGitHangs(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"cat-file --batch", "read-tree", "for-each-ref", "init"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			real, err := exec.LookPath("git")
			l.must(err)
			bin := filepath.Join(l.root, "bin")
			l.must(os.Mkdir(bin, 0o700))
			l.must(os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\ncase \"$*\" in *'"+at+"'*) (trap '' TERM; sleep 1234.5) ;; esac\nexec "+real+" \"$@\"\n"), 0o700))
			l.bounded(6, "took too long", "PATH="+bin+":"+os.Getenv("PATH"))
			l.sync()
			l.want(first)
		})
	}
}

// TestCanNotGiveBack: what was saved at the moment that a new version came, and can't
// be given back, is kept and told.
func TestCanNotGiveBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	for _, text := range []string{"a two", "a three"} {
		l.deliver(with(files{"app/a.ipynb": text}))
		l.try(refuse+"=move=EACCES", save+"=exchange:app/a.ipynb")
		kept, err := filepath.Glob(l.path(".git/deployment-manager/saved-*"))
		l.must(err)
		if len(kept) == 0 {
			t.Fatal("nothing was kept")
		}
		for _, name := range kept {
			if content, err := os.ReadFile(name); err != nil || string(content) != saved {
				t.Errorf("%s is %q, %v", name, content, err)
			}
		}
		l.status("Saved while a new version came", filepath.Base(kept[len(kept)-1]))
		if !strings.Contains(kept[0], "a.ipynb") {
			t.Errorf("kept is %q", kept)
		}
	}
}

// TestDamagedJournal: a journal that can't be read holds up nothing, and what it was
// about is kept.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	l.must(os.WriteFile(l.path(".git/deployment-manager/journal"), []byte("gar\tbage\n"), 0o600))
	l.write(files{".git/deployment-manager/coming/0": "mine"})
	l.deliver(with(files{"app/a.ipynb": "a two"}))
	l.sync()
	l.want(with(files{"app/a.ipynb": "a two"}))
	if kept, err := filepath.Glob(l.path(".git/deployment-manager/damaged-*/0")); err != nil || len(kept) != 1 {
		t.Errorf("kept is %q, %v", kept, err)
	}
}
