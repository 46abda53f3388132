package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sosedoff/gitkit"
)

// TestGitkitAgrees clones and fetches the same repositories through gitkit and
// through our server: refs and objects are the same. gitkit hands every
// request to git as it is, so it tells what plain git would serve. It answers
// version 0 of the protocol whatever it is asked for.
func TestGitkitAgrees(t *testing.T) {
	t.Parallel()
	nobody := func(string) string { return "" }
	h := startHouse(t, t.TempDir(), nobody, "--auth", "insecure-pnda")
	h.publish("ana", "flow-report-1.0.0")
	h.create("ana", "app", "flow-report-1.0.0")
	oracle := startGitkit(t, h.data())

	var pairs []*clonePair
	for _, repository := range []struct{ ours, theirs string }{
		{"/packages/flow-report.git", "/packages/flow-report.git"},
		{"/applications/app.git", "/applications/app.git"},
		{"/jupyter-ana", "/users/ana.git"},
	} {
		for _, version := range []string{"0", "2"} {
			for _, way := range [][]string{
				{},
				{"--mirror"},
				{"--single-branch", "--branch", "main"},
				{"--depth", "1"},
			} {
				pairs = append(pairs, &clonePair{
					t: t, version: version, name: fmt.Sprintf("%s over version %s, clone %s", repository.ours, version, strings.Join(way, " ")),
					ours: &developer{t, t.TempDir()}, theirs: &developer{t, t.TempDir()}, way: way,
					urls: [2]string{h.url("git", "ana", repository.ours), oracle + repository.theirs},
				})
			}
		}
	}
	for _, p := range pairs {
		p.clone()
		p.compare("at first")
	}

	h.publish("ana", "flow-report-1.1.0")
	h.change("ana", "app", "flow-report-1.1.0")
	h.create("ana", "second", "flow-report-1.1.0")
	for _, p := range pairs {
		before := p.main()
		p.fetch()
		p.compare("after an update")
		p.sound()
		if p.main() == before {
			t.Errorf("%s: the fetch brought nothing", p.name)
		}
	}
}

// startGitkit serves the repositories in a folder by gitkit, with a git that
// nobody's configuration touches.
func startGitkit(t *testing.T, folder string) (url string) {
	t.Helper()
	git := filepath.Join(t.TempDir(), "git")
	script := "#!/bin/sh\nexec env -i PATH='" + os.Getenv("PATH") + "' HOME=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null \\\n" +
		"\tGIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=uploadpack.hideRefs GIT_CONFIG_VALUE_0=refs/brought git \"$@\"\n"
	if err := os.WriteFile(git, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	kit := gitkit.New(gitkit.Config{Dir: folder, GitPath: git})
	if err := kit.Setup(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(kit)
	t.Cleanup(server.Close)
	return server.URL
}

// clonePair is the same clone through both servers.
type clonePair struct {
	t            *testing.T
	name         string
	version      string // of the protocol
	way          []string
	ours, theirs *developer
	urls         [2]string
}

func (p *clonePair) each(do func(d *developer, url string)) {
	do(p.ours, p.urls[0])
	do(p.theirs, p.urls[1])
}

func (p *clonePair) clone() {
	p.t.Helper()
	p.each(func(d *developer, url string) {
		clone := append([]string{"-c", "protocol.version=" + p.version, "clone", "-q"}, p.way...)
		d.git(append(clone, url, "clone")...)
		d.dir = filepath.Join(d.dir, "clone")
	})
}

func (p *clonePair) fetch() {
	p.t.Helper()
	p.each(func(d *developer, _ string) { d.git("-c", "protocol.version="+p.version, "fetch", "-q") })
}

// main is where the branch is on the side of the server.
func (p *clonePair) main() string {
	p.t.Helper()
	if slices.Contains(p.way, "--mirror") {
		return p.ours.git("rev-parse", "refs/heads/main")
	}
	return p.ours.git("rev-parse", "refs/remotes/origin/main")
}

// compare wants the same refs and the same objects.
func (p *clonePair) compare(when string) {
	p.t.Helper()
	for _, view := range [][]string{
		{"for-each-ref", "--format=%(refname) %(objectname) %(objecttype) %(symref)"},
		{"rev-list", "--all", "--objects", "--no-object-names"},
	} {
		ours, theirs := sortedLines(p.ours.git(view...)), sortedLines(p.theirs.git(view...))
		if ours[0] == "" || !slices.Equal(ours, theirs) {
			p.t.Errorf("%s, %s: git %s gives\n%s\nthrough gitkit\n%s", p.name, when, view[0], strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
	}
}

// sound wants nothing that fsck finds, and a shallow clone to be one.
func (p *clonePair) sound() {
	p.t.Helper()
	p.each(func(d *developer, url string) {
		if out, said, err := d.try("fsck", "--full", "--strict", "--no-dangling"); err != nil || out+said != "" {
			p.t.Errorf("%s: git fsck of the clone of %s: %v\n%s%s", p.name, url, err, out, said)
		}
		_, err := os.Stat(filepath.Join(d.dir, ".git", "shallow"))
		if shallow := err == nil; shallow != slices.Contains(p.way, "--depth") {
			p.t.Errorf("%s: the clone of %s is shallow: %t", p.name, url, shallow)
		}
	})
}

func sortedLines(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return lines
}
