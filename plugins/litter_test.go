package plugins_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
)

const appleDouble = "\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "

// What no author meant as content never counts as a component, is never
// delivered, and is told in one note.
func TestLitterIsPassedOver(t *testing.T) {
	t.Parallel()
	const own = "jupyter/n/a.ipynb"
	for _, c := range []struct {
		name   string
		litter []string
		told   []string // what the note names; nil: as litter
	}{
		{"JupyterLab's beside the component", []string{"jupyter/.ipynb_checkpoints/a-checkpoint.ipynb"}, []string{"jupyter/.ipynb_checkpoints/"}},
		{"JupyterLab's beside the type", []string{".ipynb_checkpoints/a-checkpoint.ipynb"}, []string{".ipynb_checkpoints/"}},
		{"JupyterLab's in the component", []string{"jupyter/n/.ipynb_checkpoints/a-checkpoint.ipynb"}, []string{"jupyter/n/.ipynb_checkpoints/"}},
		{"JupyterLab's further down", []string{"jupyter/n/sub/deep/.ipynb_checkpoints/a/b"}, []string{"jupyter/n/sub/deep/.ipynb_checkpoints/"}},
		{"JupyterLab's where a component would be", []string{"jupyter/old/.ipynb_checkpoints/a-checkpoint.ipynb"}, []string{"jupyter/old/.ipynb_checkpoints/"}},
		{"JupyterLab's in a folder where a component would be", []string{"jupyter/old/sub/.ipynb_checkpoints/a"}, []string{"jupyter/old/sub/.ipynb_checkpoints/"}},
		{"macOS's folders", []string{".DS_Store", "jupyter/.DS_Store", "jupyter/n/.DS_Store", "jupyter/n/sub/.DS_Store", "jupyter/old/.DS_Store"}, nil},
		{"macOS's zip", []string{"__MACOSX/._jupyter", "jupyter/__MACOSX/n/._a.ipynb", "jupyter/n/__MACOSX/x"}, []string{"__MACOSX/", "jupyter/__MACOSX/", "jupyter/n/__MACOSX/"}},
		{"AppleDouble files", []string{"._jupyter", "jupyter/._n", "jupyter/n/._a.ipynb", "jupyter/n/sub/._b.csv", "jupyter/old/._c"}, nil},
		{"Windows'", []string{"jupyter/n/Thumbs.db", "jupyter/old/thumbs.db", "Thumbs.db"}, nil},
		{"GitHub's", []string{".github/workflows/ci.yml", ".gitignore", ".gitlab-ci.yml"}, []string{".github/", ".gitignore", ".gitlab-ci.yml"}},
		{"editors'", []string{".vscode/settings.json", ".idea/x/y", "jupyter/.vscode/s/t.ipynb"}, []string{".idea/", ".vscode/", "jupyter/.vscode/"}},
		{"of an unknown type", []string{"storm/.DS_Store", "storm/topology/.DS_Store"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := tree(own, emptyNotebook, "jupyter/n/sub/b.csv", "x", "jupyter/n/properties.json", "{}")
			for _, path := range c.litter {
				files[path] = &fstest.MapFile{Data: []byte(appleDouble)}
			}
			want := c.told
			if want == nil {
				want = c.litter
			}
			v, err := newPlanner(t).Validate(ref, ref.String(), files)
			if err != nil || len(v.Findings) > 0 || len(v.Defaults) != 1 || len(v.Defaults["jupyter"]) != 1 {
				t.Fatalf("Validate = %+v, %v, want one component and no findings", v, err)
			}
			p := plan(t, spec(nil), files)
			for _, notes := range [][]string{v.Notes, p.Notes} {
				if len(notes) != 1 {
					t.Fatalf("notes = %q, want one", notes)
				}
				told, _ := strings.CutPrefix(notes[0], "skipped, not content: ")
				got := strings.Split(told, ", ")
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("note = %q, want it to name %q", notes[0], want)
				}
			}
			if len(p.Components) != 1 {
				t.Fatalf("components = %v, want n alone", p.Components)
			}
			compare(t, listing(p.Components[0]), map[string]string{
				"a.ipynb": "= " + own, "sub/b.csv": "= jupyter/n/sub/b.csv", "properties.json": listing(p.Components[0])["properties.json"]})
		})
	}
}

// What only looks like litter is content.
func TestContentThatLooksLikeLitterIsDelivered(t *testing.T) {
	t.Parallel()
	content := []string{
		"jupyter/n/._notes.txt", "jupyter/n/.hidden", "jupyter/n/.config/x", "jupyter/n/.gitignore", "jupyter/n/.ipynb_checkpoints.txt",
		"jupyter/n/a.DS_Store", "jupyter/n/x_MACOSX/y", "jupyter/n/._short", "jupyter/n/sub/.ipynb_checkpoint/x", "jupyter/n/DS_Store/z",
	}
	files := tree("jupyter/n/a.ipynb", emptyNotebook, "jupyter/n/sub/.ipynb_checkpoints", "a file")
	for _, path := range content {
		files[path] = &fstest.MapFile{Data: []byte("text")}
	}
	files["jupyter/n/._short"] = &fstest.MapFile{Data: []byte("\x00\x05\x16")}
	p := plan(t, spec(nil), files)
	if len(p.Notes) > 0 || len(p.Components) != 1 {
		t.Fatalf("plan = %d components, notes %q, want one and none", len(p.Components), p.Notes)
	}
	got := listing(p.Components[0])
	for path := range files {
		if file := strings.TrimPrefix(path, "jupyter/n/"); got[file] != "= "+path {
			t.Errorf("%s = %q, want it delivered", file, got[file])
		}
	}
}

// A plugin sees no litter either: what is mandatory is not fulfilled by it.
func TestLitterFulfilsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		files fstest.MapFS
		want  string
	}{
		{tree("jupyter/n/a.csv", "", "jupyter/n/.ipynb_checkpoints/a-checkpoint.ipynb", "{}"), "jupyter/n: missing ipynb file"},
		{tree("jupyter/n/a.csv", "", "jupyter/n/._a.ipynb", appleDouble), "jupyter/n: missing ipynb file"},
		{tree("jupyter/.old/a.ipynb", ""), "the package has no component; at least one component is required, as <type>/<name>/<files> (skipped, not content: jupyter/.old/)"},
	} {
		v, err := newPlanner(t).Validate(ref, ref.String(), c.files)
		if err != nil || len(v.Findings) != 1 || v.Findings[0].String() != c.want {
			t.Errorf("findings = %q, %v, want %q", v.Findings, err, c.want)
		}
	}
}

func TestMuchLitterIsOneShortNote(t *testing.T) {
	t.Parallel()
	files := tree("jupyter/n/a.ipynb", emptyNotebook)
	for i := range 2000 {
		files[fmt.Sprintf("jupyter/n/%04d/.DS_Store", i)] = &fstest.MapFile{}
	}
	v, err := newPlanner(t).Validate(ref, ref.String(), files)
	if err != nil || len(v.Notes) != 1 || len(v.Notes[0]) > 300 || !strings.HasSuffix(v.Notes[0], "jupyter/n/0004/.DS_Store and 1995 more") {
		t.Errorf("notes = %q, %v, want one that names the first and counts the others", v.Notes, err)
	}
}

func TestLitterThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	files := tree("jupyter/n/a.ipynb", emptyNotebook, "jupyter/n/._a.ipynb", appleDouble)
	if _, err := newPlanner(t).Validate(ref, ref.String(), faultyFS{files, "jupyter/n/._a.ipynb"}); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("kind %q, want %q", dm.KindOf(err), dm.Unavailable)
	}
}
