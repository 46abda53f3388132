package gitcmd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

var errEnough = errors.New("enough")

// newObjects returns the kinds of the new objects in their order.
func newObjects(g *Git, dir string, tips, not []string) (string, error) {
	var kinds []string
	err := g.NewObjects(context.Background(), dir, tips, not, func(kind, _ string, _ int64) error {
		kinds = append(kinds, kind)
		return nil
	})
	return strings.Join(kinds, " "), err
}

func TestCatObjects(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, commit := newRepository(t, g)
	large := strings.Repeat("0123456789abcdef", 1<<16)
	ids := []string{commit, output(t, g, dir, large, "hash-object", "-w", "--stdin"), output(t, g, dir, "", "hash-object", "-w", "--stdin")}
	ids = append(ids, ids[1], ids[0])
	var got []string
	sizes := map[string]int64{}
	err := g.CatObjects(t.Context(), dir, slices.Values(ids), func(id, kind string, size int64, r io.Reader) error {
		got = append(got, id)
		sizes[kind] += size
		if len(got) == 4 {
			return nil // what is not read is passed over
		}
		n, err := io.Copy(io.Discard, r)
		if n != size {
			t.Errorf("%s has %d bytes, want %d", id, n, size)
		}
		return err
	})
	if err != nil || !slices.Equal(got, ids) || sizes["blob"] != int64(2*len(large)) || sizes["commit"] < 200 {
		t.Errorf("visited %q with sizes %v, %v", got, sizes, err)
	}
}

// TestCatObjectsOfManyNames asks for more than fits the pipes in both ways.
func TestCatObjectsOfManyNames(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, commit := newRepository(t, g)
	names := func(yield func(string) bool) {
		for range 20_000 {
			if !yield(commit) {
				return
			}
		}
	}
	n := 0
	if err := g.CatObjects(t.Context(), dir, names, func(string, string, int64, io.Reader) error { n++; return nil }); err != nil || n != 20_000 {
		t.Errorf("%d visits, %v", n, err)
	}
	endless := func(yield func(string) bool) {
		for yield(commit) {
			continue
		}
	}
	err := g.CatObjects(t.Context(), dir, endless, func(string, string, int64, io.Reader) error { return errEnough })
	if !errors.Is(err, errEnough) {
		t.Errorf("a visitor that has enough: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = g.CatObjects(ctx, dir, endless, func(string, string, int64, io.Reader) error { cancel(); return nil })
	if dm.KindOf(err) != dm.Unavailable {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCatObjectsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, commit := newRepository(t, g)
	blob := output(t, g, dir, "", "rev-parse", commit+":f")
	path := filepath.Join(dir, "objects", blob[:2], blob[2:])
	read := func(id string) error {
		return g.CatObjects(t.Context(), dir, slices.Values([]string{commit, id, commit}), func(_, _ string, _ int64, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
	}
	for name, id := range map[string]string{"missing": strings.Repeat("1", 40), "not a name": "HEAD", "two lines": commit + "\n" + commit} {
		if err := read(id); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		err = os.WriteFile(path, content[:len(content)-4], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := read(blob); dm.KindOf(err) != dm.Internal {
		t.Errorf("damaged: %v", err)
	}
}

func TestNewObjects(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	two := newCommit(t, g, dir, "other\n")
	tests := []struct {
		name      string
		tips, not []string
		want      string
	}{
		{"one", []string{one}, nil, "commit tree blob"},
		{"two", []string{one, two}, nil, "commit commit tree blob tree blob"},
		{"nothing new", []string{one}, []string{one}, ""},
		{"beside another", []string{one, two}, []string{two}, "commit tree blob"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := newObjects(g, dir, tt.tips, tt.not); err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	for name, tip := range map[string]string{"missing": strings.Repeat("1", 40), "an option": "--all"} {
		if _, err := newObjects(g, dir, []string{tip}, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	err := g.NewObjects(t.Context(), dir, []string{one}, nil, func(string, string, int64) error { return errEnough })
	if !errors.Is(err, errEnough) {
		t.Errorf("a visitor that has enough: %v", err)
	}
}

func TestIsAncestor(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	other := newCommit(t, g, dir, "other\n")
	two := output(t, g, dir, "tree "+output(t, g, dir, "", "rev-parse", one+"^{tree}")+"\nparent "+one+
		"\nauthor A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n\nm\n", "hash-object", "-w", "-t", "commit", "--stdin")
	tests := []struct {
		name string
		a, b string
		want bool
		kind dm.Kind
	}{
		{"parent", one, two, true, ""},
		{"itself", one, one, true, ""},
		{"child", two, one, false, ""},
		{"stranger", other, two, false, ""},
		{"missing", strings.Repeat("1", 40), two, false, dm.Internal},
		{"an option", "--all", two, false, dm.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := g.IsAncestor(t.Context(), dir, tt.a, tt.b)
			if got != tt.want || (err != nil) != (tt.kind != "") || err != nil && dm.KindOf(err) != tt.kind {
				t.Errorf("got %v, %v; want %v, %q", got, err, tt.want, tt.kind)
			}
		})
	}
}
