package gitcmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func newGit(t *testing.T) *Git {
	t.Helper()
	g, err := New(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// newRepository makes a bare repository with one commit that no ref names.
func newRepository(t *testing.T, g *Git) (dir, commit string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "r.git")
	if err := g.Run(t.Context(), "", nil, nil, "init", "-q", "--bare", "--", dir); err != nil {
		t.Fatal(err)
	}
	return dir, newCommit(t, g, dir, "content\n")
}

// output runs git and returns what it printed, without the line's end.
func output(t *testing.T, g *Git, dir, in string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := g.Run(t.Context(), dir, strings.NewReader(in), &out, args...); err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSpace(out.String())
}

func newCommit(t *testing.T, g *Git, dir, content string) string {
	t.Helper()
	blob := output(t, g, dir, content, "hash-object", "-w", "--stdin")
	tree := output(t, g, dir, "100644 blob "+blob+"\tf\n", "mktree")
	return output(t, g, dir,
		"tree "+tree+"\nauthor A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n\nm\n",
		"hash-object", "-w", "-t", "commit", "--stdin")
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want string
		ok   bool
		old  bool
	}{
		{text: "git version 2.39.5", want: "2.39.5", ok: true},
		{text: "git version 2.39.2 (Apple Git-143)", want: "2.39.2", ok: true},
		{text: "git version 2.45.1.windows.1", want: "2.45.1", ok: true},
		{text: "git version 2.47.0.rc1", want: "2.47.0", ok: true},
		{text: "git version 2.47.rc1", want: "2.47.0", ok: true},
		{text: "git version 2.50", want: "2.50.0", ok: true},
		{text: "git version 2.38.9", want: "2.38.9", ok: true, old: true},
		{text: "git version 1.99.99", want: "1.99.99", ok: true, old: true},
		{text: "git version 3.0.0", want: "3.0.0", ok: true},
		{text: "git version"},
		{text: "git version x.y.z"},
		{text: "git version 2"},
		{text: "hg version 2.39.5"},
		{text: ""},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			v, ok := parseVersion(tt.text)
			if ok != tt.ok || ok && (v.String() != tt.want || v.less(oldest) != tt.old) {
				t.Errorf("parseVersion = %v, %v, old %v; want %s, %v, old %v", v, ok, v.less(oldest), tt.want, tt.ok, tt.old)
			}
		})
	}
}

func TestNewRefusesUnfitGit(t *testing.T) {
	t.Parallel()
	program := func(script string) string {
		path := filepath.Join(t.TempDir(), "git")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"too old", Config{Path: program("echo git version 2.30.2")}, "found git 2.30.2; git 2.39.0 or newer is needed"},
		{"something else", Config{Path: program("echo hello")}, `unknown git version "hello"; git 2.39.0 or newer is needed`},
		{"fails", Config{Path: program("echo secret >&2; exit 3")}, "git version failed"},
		{"missing", Config{Path: "/nonexistent/git"}, "the git program was not found; git 2.39.0 or newer is needed"},
		{"relative hooks", Config{HooksPath: "hooks"}, "the hooks folder must be an absolute path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(t.Context(), tt.cfg)
			if got := dm.Public(err); got != tt.want {
				t.Errorf("New: %q, want %q", got, tt.want)
			}
		})
	}
}

// TestClosedEnvironment sets everything hostile that the server's own
// environment could hold. It changes the process's environment, so it is not
// parallel.
func TestClosedEnvironment(t *testing.T) {
	home := t.TempDir()
	config := "[user]\n\tname = evil\n[alias]\n\tversion = !false\n[core]\n\thooksPath = " + home + "\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(home, "trace")
	for name, value := range map[string]string{
		"HOME":                 home,
		"XDG_CONFIG_HOME":      home,
		"GIT_DIR":              filepath.Join(home, "elsewhere"),
		"GIT_CONFIG_GLOBAL":    filepath.Join(home, ".gitconfig"),
		"GIT_CONFIG_COUNT":     "1",
		"GIT_CONFIG_KEY_0":     "user.name",
		"GIT_CONFIG_VALUE_0":   "evil",
		"GIT_OBJECT_DIRECTORY": home,
		"GIT_TRACE":            trace,
		"GIT_EXEC_PATH":        home,
		"DM_SECRET":            "secret",
		"LC_ALL":               "de_DE.UTF-8",
	} {
		t.Setenv(name, value)
	}
	g := newGit(t)
	dir, commit := newRepository(t, g)
	list := output(t, g, dir, "", "config", "--list")
	if strings.Contains(list, "evil") || strings.Contains(list, home) {
		t.Errorf("the configuration has entries from outside:\n%s", list)
	}
	if !strings.Contains(list, "core.fsync=all") || !strings.Contains(list, "core.hookspath=/dev/null") {
		t.Errorf("the fixed options are missing:\n%s", list)
	}
	if got := output(t, g, dir, "", "cat-file", "-t", commit); got != "commit" {
		t.Errorf("object in the repository = %q, want commit", got)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("GIT_TRACE reached git")
	}
	env := output(t, g, dir, "", "-c", "alias.show-env=!env", "show-env")
	for _, word := range []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_NO_REPLACE_OBJECTS=1", "HOME=/nonexistent"} {
		if !strings.Contains("\n"+env, "\n"+word+"\n") {
			t.Errorf("the child's environment lacks %q:\n%s", word, env)
		}
	}
	for _, word := range []string{"DM_SECRET", home + "\n", "GIT_TRACE"} {
		if strings.Contains(env, word) {
			t.Errorf("the child's environment holds %q:\n%s", word, env)
		}
	}
}

func TestErrorKeepsTextsForTheLog(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	err := g.Run(t.Context(), "/nonexistent/r.git", nil, nil, "rev-parse", "HEAD")
	if kind := dm.KindOf(err); kind != dm.Internal {
		t.Errorf("kind %q, want %q", kind, dm.Internal)
	}
	if strings.Contains(dm.Public(err), "nonexistent") {
		t.Errorf("the client sees %q", dm.Public(err))
	}
	if !strings.Contains(err.Error(), "not a git repository") {
		t.Errorf("the log sees %q, want git's own words", err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var b tail
	for range 100 {
		_, _ = b.Write(bytes.Repeat([]byte("x"), 1000))
	}
	_, _ = b.Write([]byte("fatal: the end\n"))
	if got := b.String(); len(got) > maxStderr || !strings.HasSuffix(got, "xfatal: the end") {
		t.Errorf("kept %d bytes ending in %q", len(got), got[len(got)-20:])
	}
}

func TestLockIsInherited(t *testing.T) {
	t.Parallel()
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	g, err := New(t.Context(), Config{Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := newRepository(t, g)
	got := output(t, g, dir, "", "-c", "alias.show-fd=!readlink /proc/self/fd/3", "show-fd")
	if got != lock.Name() {
		t.Errorf("descriptor 3 of the child is %q, want %q", got, lock.Name())
	}
}

func TestRunWithoutCommand(t *testing.T) {
	t.Parallel()
	if err := newGit(t).Run(context.Background(), "", nil, nil); dm.KindOf(err) != dm.Internal {
		t.Errorf("Run without arguments: %v", err)
	}
}
