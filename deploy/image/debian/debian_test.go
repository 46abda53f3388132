package debian

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func names(s *Set) (names []string) {
	for _, p := range s.Packages {
		names = append(names, p.Name+" "+p.Version)
	}
	return names
}

// example is an archive with a program that needs a library and a manual.
func example(t *testing.T) *archive {
	t.Helper()
	a := newArchive(t)
	a.add(t, "lib", "1:2.0-1", "", [2]string{"lib/", ""}, [2]string{"lib/shared.so", "the library"})
	a.add(t, "reader", "1", "")
	a.add(t, "manual", "1.5", "Depends: reader\n", [2]string{"usr/", ""}, [2]string{"usr/share/", ""}, [2]string{"usr/share/manual", "long"})
	a.add(t, "extra", "1", "")
	a.add(t, "tool", "3", "Depends: lib (>= 1:2), manual (>= 1.5), manual (<< 1.6)\nRecommends: extra\n",
		[2]string{"bin/", ""}, [2]string{"bin/tool", "#!/bin/sh\necho works\n"}, [2]string{"bin/setuid", "x"},
		[2]string{"usr/bin/", ""}, [2]string{"usr/bin/link", "-> tool"}, [2]string{"usr/bin/outside", "-> /etc"}, [2]string{"usr/bin/same", "== bin/tool"})
	return a
}

func TestFetchCloses(t *testing.T) {
	t.Parallel()
	a := example(t)
	tests := []struct {
		name          string
		want, without []string
		closed        []string
	}{
		{"nothing else", []string{"lib"}, nil, []string{"lib 1:2.0-1"}},
		{"what it depends on", []string{"tool"}, nil, []string{"lib 1:2.0-1", "manual 1.5", "reader 1", "tool 3"}},
		{"without", []string{"tool"}, []string{"manual"}, []string{"lib 1:2.0-1", "tool 3"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, err := Fetch(t.Context(), Options{Packages: tt.want, Without: tt.without, Sources: a.sources(), Cache: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if got := names(set); !slices.Equal(got, tt.closed) {
				t.Errorf("got %q, want %q", got, tt.closed)
			}
		})
	}
}

func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	a := example(t)
	a.add(t, "broken", "1", "Depends: nowhere\n")
	vendor := newArchive(t)
	vendor.add(t, "stranger", "1", "")
	vendor.publish(t, "A vendor")
	tests := []struct {
		name, sources, want string
		packages            []string
	}{
		{"no name", a.sources(), "no Debian package was named", nil},
		{"unknown", a.sources(), "Unable to locate package missing", []string{"missing"}},
		{"unmet dependency", a.sources(), "nowhere", []string{"broken"}},
		{"not the distribution's", vendor.sources(), "stranger", []string{"stranger"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, err := Fetch(t.Context(), Options{Packages: tt.packages, Sources: tt.sources, Cache: t.TempDir()})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", set, err, tt.want)
			}
		})
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	a := example(t)
	var said bytes.Buffer
	o := Options{Packages: []string{"tool"}, Sources: a.sources(), Cache: t.TempDir(), Progress: &said}
	dir, err := Root(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"bin/tool", "usr/bin/tool", "bin/link", "usr/bin/same"} {
		if got := command(t, "/", filepath.Join(dir, program)); got != "works\n" {
			t.Errorf("%s says %q", program, got)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "usr/lib/shared.so")); string(got) != "the library" {
		t.Errorf("the library of the other package: %q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin/setuid")); err != nil || info.Mode() != 0o755 {
		t.Errorf("a setuid program: %v, %v; want mode 0755", info.Mode(), err)
	}
	if got, err := os.Readlink(filepath.Join(dir, "bin/outside")); got != "/etc" {
		t.Errorf("a link to outside: %q, %v; want it as it is", got, err)
	}
	said.Reset()
	again, err := Root(t.Context(), o)
	if err != nil || again != dir {
		t.Errorf("a second time: %q, %v; want %q", again, err, dir)
	}
	if said.Len() > 0 {
		t.Errorf("a second time something was done: %s", &said)
	}
}

func TestRootKeepsInside(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	outside := t.TempDir()
	a.add(t, "evil", "1", "", [2]string{"way", "-> " + outside}, [2]string{"way/file", "x"})
	if dir, err := Root(t.Context(), Options{Packages: []string{"evil"}, Sources: a.sources(), Cache: t.TempDir()}); err == nil {
		t.Errorf("Root returned %s", dir)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

func TestDamagedArchiveIsFetchedAgain(t *testing.T) {
	t.Parallel()
	a := example(t)
	o := Options{Packages: []string{"tool"}, Sources: a.sources(), Cache: t.TempDir()}
	set, err := Fetch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(set.archives, set.Packages[0].file)
	content, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	write(t, damaged, strings.Repeat("x", len(content))) // the same size
	if _, err := Root(t.Context(), o); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(damaged); !bytes.Equal(got, content) {
		t.Errorf("the damaged archive is still there, %v", err)
	}
}

// TestOldListsAreFetchedAgain: Debian removes a version soon after the next.
func TestOldListsAreFetchedAgain(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.add(t, "tool", "1", "")
	o := Options{Packages: []string{"tool"}, Sources: a.sources(), Cache: t.TempDir()}
	set, err := Fetch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{a.dir, set.archives} {
		if err := os.Remove(filepath.Join(folder, "tool_1_all.deb")); err != nil {
			t.Fatal(err)
		}
	}
	a.records.Reset()
	a.add(t, "tool", "2", "")
	set, err = Fetch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(set); !slices.Equal(got, []string{"tool 2"}) {
		t.Errorf("got %q, want version 2", got)
	}
}

// TestRefreshWithoutArchive goes on with what there is, and says so: an image
// that was to have the newest updates may not have them.
func TestRefreshWithoutArchive(t *testing.T) {
	t.Parallel()
	a := example(t)
	var said bytes.Buffer
	o := Options{Packages: []string{"tool"}, Sources: a.sources(), Cache: t.TempDir(), Refresh: true, Progress: &said}
	if _, err := Fetch(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	const warning = "not all lists of Debian's packages could be fetched"
	if strings.Contains(said.String(), warning) {
		t.Errorf("all is there and it says %s", &said)
	}
	if err := os.RemoveAll(a.dir); err != nil {
		t.Fatal(err)
	}
	set, err := Fetch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(set); len(got) != 4 || !strings.Contains(said.String(), warning) {
		t.Errorf("got %q and it says %s; want the packages of before and that lists are missing", got, &said)
	}
	o.Cache = t.TempDir()
	if set, err := Fetch(t.Context(), o); err == nil {
		t.Errorf("without archive and cache: got %v", set)
	}
}

// TestSystemIsUntouched looks at where apt and dpkg keep what a system has. The
// system itself may bring updates at the moment, so a change counts when it comes
// each time.
func TestSystemIsUntouched(t *testing.T) {
	t.Parallel()
	a := example(t)
	var before, after []string
	for range 4 {
		before = state(t)
		if _, err := Root(t.Context(), Options{Packages: []string{"tool"}, Sources: a.sources(), Cache: t.TempDir(), Refresh: true}); err != nil {
			t.Fatal(err)
		}
		if after = state(t); slices.Equal(before, after) {
			return
		}
	}
	t.Errorf("the system's state was %v and is %v", before, after)
}

func state(t *testing.T) (files []string) {
	t.Helper()
	for _, dir := range []string{"/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			files = append(files, path+" "+info.ModTime().String())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestNoApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Root(t.Context(), Options{Packages: []string{"git"}, Cache: t.TempDir()}); !errors.Is(err, ErrNoApt) {
		t.Errorf("got %v, want %v", err, ErrNoApt)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"./": ".", "./bin/sh": "usr/bin/sh", "./usr/bin/git": "usr/bin/git", "./lib": "usr/lib", "./lib64/ld.so": "usr/lib64/ld.so",
		"./library/x": "library/x", "../../etc/passwd": "etc/passwd", "/sbin/x/": "usr/sbin/x",
	} {
		if got := Place(name); got != want {
			t.Errorf("Place(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestParseLine(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0a", 32)
	tests := []struct {
		name, line string
		want       Package
	}{
		{"whole", "'http://example.org/git_2.39_amd64.deb' git_1%3a2.39_amd64.deb 72 SHA256:" + hash,
			Package{Name: "git", Version: "1:2.39", Architecture: "amd64", SHA256: hash, file: "git_1%3a2.39_amd64.deb"}},
		{"weak hash", "'http://example.org/git_2.39_amd64.deb' git_2.39_amd64.deb 72 MD5Sum:0a", Package{}},
		{"path", "'http://example.org/git_2.39_amd64.deb' ../git_2.39_amd64.deb 72 SHA256:" + hash, Package{}},
		{"message", "E: Unable to locate package", Package{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseLine(tt.line)
			if got != tt.want || (err == nil) != (tt.want != Package{}) {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}
