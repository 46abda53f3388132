package gitcmd

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// TestMain lets git run this program as its proc-receive hook.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "proc-receive" {
		os.Exit(procReceive())
	}
	os.Exit(m.Run())
}

// procReceive accepts every ref and writes what it saw to $SEEN. It looks at
// the objects as a hook of the server has to.
func procReceive() int {
	in := bufio.NewReader(os.Stdin)
	readPackets(in) // version and capabilities
	fmt.Print(packet("version=1\x00push-options\n"), "0000")
	commands := readPackets(in)
	seen := append(commands, readPackets(in)...)
	for _, name := range []string{"GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_SHALLOW_FILE"} {
		seen = append(seen, name+"="+os.Getenv(name))
	}
	if err := os.WriteFile(os.Getenv("SEEN"), []byte(strings.Join(seen, "\n")), 0o600); err != nil {
		return 1
	}
	for _, c := range commands {
		fmt.Print(packet("ok " + strings.Fields(c)[2] + "\n"))
	}
	fmt.Print("0000")
	return 0
}

func packet(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// readPackets reads packets up to the next flush.
func readPackets(in io.Reader) (list []string) {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(in, head); err != nil {
			return list
		}
		n, _ := strconv.ParseUint(string(head), 16, 16)
		if n < 4 {
			return list
		}
		body := make([]byte, n-4)
		_, _ = io.ReadFull(in, body)
		list = append(list, strings.TrimSpace(string(body)))
	}
}

// stage is a bare repository that a real client can push to.
type stage struct {
	t    *testing.T
	g    *Git
	dir  string
	url  string
	seen string // written by the hook
	opts ReceiveOptions
	errs chan error
}

func newStage(t *testing.T, g *Git, opts ReceiveOptions) *stage {
	t.Helper()
	s := &stage{t: t, g: g, dir: filepath.Join(t.TempDir(), "stage.git"), opts: opts, errs: make(chan error, 16)}
	s.opts.HooksPath = t.TempDir()
	s.seen = filepath.Join(s.opts.HooksPath, "seen")
	s.opts.Environment = []string{"SEEN=" + s.seen}
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(s.opts.HooksPath, "proc-receive"))
	}
	if err == nil {
		err = g.Run(t.Context(), "", nil, nil, "init", "-q", "--bare", "--", s.dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL + "/stage.git"
	return s
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Cache-Control", "no-cache")
	round := dm.ReceiveRound{Protocol: r.Header.Get("Git-Protocol"), In: r.Body, Out: w}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/x-git-receive-pack-advertisement")
		_, _ = io.WriteString(w, packet("# service=git-receive-pack\n")+"0000")
		round.Advertise = true
	} else {
		w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
	}
	s.errs <- s.g.ReceivePack(r.Context(), s.dir, round, s.opts)
}

// borrow makes the stage find the objects of dir.
func (s *stage) borrow(dir string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "objects", "info", "alternates")
	if err := os.WriteFile(path, []byte(filepath.Join(dir, "objects")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// objects counts the objects of the stage itself.
func (s *stage) objects() (loose, packs string) {
	s.t.Helper()
	for line := range strings.Lines(output(s.t, s.g, s.dir, "", "count-objects", "-v")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "count":
			loose = value
		case "packs":
			packs = value
		}
	}
	return loose, packs
}

// client runs the real client in the work tree dir.
func client(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_TERMINAL_PROMPT=0",
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustClient(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := client(t, dir, args...)
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return out
}

// workTree makes a repository with n commits of a large file.
func workTree(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	mustClient(t, dir, "init", "-q", "-b", "main")
	content := make([]byte, 100<<10)
	_, _ = rand.Read(content)
	for i := range n {
		content[i]++
		if err := os.WriteFile(filepath.Join(dir, "f"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		mustClient(t, dir, "add", "f")
		mustClient(t, dir, "commit", "-q", "-m", strconv.Itoa(i))
	}
	return dir
}

func TestReceivePackTakesAPush(t *testing.T) {
	t.Parallel()
	s := newStage(t, newGit(t), ReceiveOptions{})
	dir := workTree(t, 2)
	mustClient(t, dir, "tag", "-a", "-m", "t", "v1.0.0")
	mustClient(t, dir, "push", "-q", "-o", "reason=a b", s.url, "v1.0.0")
	seen, err := os.ReadFile(s.seen)
	want := strings.Repeat("0", 40) + " " + mustClient(t, dir, "rev-parse", "v1.0.0") + " refs/tags/v1.0.0\nreason=a b\n"
	if err != nil || !strings.HasPrefix(string(seen), want) {
		t.Errorf("the hook saw %q, %v; want %q", seen, err, want)
	}
	if loose, packs := s.objects(); loose != "0" || packs != "1" {
		t.Errorf("%s loose objects and %s packs, want 0 and 1", loose, packs)
	}
	if refs := output(t, s.g, s.dir, "", "for-each-ref"); refs != "" {
		t.Errorf("git moved refs by itself: %s", refs)
	}
	for range 2 {
		if err := <-s.errs; err != nil {
			t.Errorf("ReceivePack: %v", err)
		}
	}
}

// TestReceivePackTakesAShallowPush pushes the tag of a clone that lacks the
// commit's parent.
func TestReceivePackTakesAShallowPush(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	origin := workTree(t, 3)
	shallow := filepath.Join(t.TempDir(), "shallow")
	mustClient(t, origin, "clone", "-q", "--depth", "1", "file://"+origin, shallow)
	mustClient(t, shallow, "tag", "v1.0.0")
	commit := mustClient(t, shallow, "rev-parse", "v1.0.0")

	s := newStage(t, g, ReceiveOptions{Shallow: true})
	mustClient(t, shallow, "push", s.url, "v1.0.0")
	if seen, err := os.ReadFile(s.seen); err != nil || !strings.Contains(string(seen), commit+" refs/tags/v1.0.0") {
		t.Errorf("the hook saw %q, %v", seen, err)
	}
	if paths := output(t, g, s.dir, "", "ls-tree", "-r", "--name-only", commit); paths != "f" {
		t.Errorf("the stage's tree has %q, want f", paths)
	}
	if kinds, err := newObjects(g, s.dir, []string{commit}, nil); err != nil || kinds != "commit tree blob" {
		t.Errorf("new objects are %q, %v; want one commit without its parent", kinds, err)
	}

	s = newStage(t, g, ReceiveOptions{})
	out, err := client(t, shallow, "push", s.url, "v1.0.0")
	if err == nil || !strings.Contains(out, "did not receive expected object") {
		t.Errorf("with shallow pushes off: %v\n%s", err, out)
	}
}

// TestReceivePackOnTopOfAShallowClone pushes to where the clone is from: there
// nothing lacks a parent.
func TestReceivePackOnTopOfAShallowClone(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	origin := workTree(t, 3)
	shallow := filepath.Join(t.TempDir(), "shallow")
	mustClient(t, origin, "clone", "-q", "--depth", "1", "file://"+origin, shallow)
	mustClient(t, shallow, "commit", "-q", "--allow-empty", "-m", "more")
	for _, allowed := range []bool{false, true} {
		s := newStage(t, g, ReceiveOptions{Shallow: allowed})
		s.borrow(filepath.Join(origin, ".git"))
		output(t, g, s.dir, "", "update-ref", "refs/heads/main", mustClient(t, origin, "rev-parse", "main"))
		if out, err := client(t, shallow, "push", s.url, "main"); err != nil {
			t.Errorf("shallow %v: %v\n%s", allowed, err, out)
		}
	}
}

func TestReceivePackTakesAThinPack(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir := workTree(t, 1)
	real := filepath.Join(t.TempDir(), "real.git")
	mustClient(t, dir, "clone", "-q", "--bare", dir, real)
	f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("more\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	mustClient(t, dir, "commit", "-q", "-a", "-m", "more")
	for _, ref := range []bool{true, false} {
		s := newStage(t, g, ReceiveOptions{MaxInput: 10 << 10}) // the file is 100 KB and does not shrink
		s.borrow(real)
		if ref { // otherwise the client learns of it by a .have line
			output(t, g, s.dir, "", "update-ref", "refs/heads/main", mustClient(t, real, "rev-parse", "main"))
		}
		mustClient(t, dir, "push", "-q", s.url, "main")
		tip := mustClient(t, dir, "rev-parse", "main")
		if got := output(t, g, s.dir, "", "cat-file", "-s", tip+":f"); got != strconv.Itoa(100<<10+5) {
			t.Errorf("the file has %s bytes in the stage", got)
		}
	}
}

func TestReceivePackRefusesBadObjects(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	commit := func(tree, extra string) string {
		return "tree " + tree + "\n" + extra + "author A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n\nm\n"
	}
	tests := []struct {
		name string
		tree func(blob string) string // raw entries
		blob string
		text func(tree string) string
		want string
	}{
		{name: "dot git", tree: raw("100644 .git"), want: "hasDotgit"},
		{name: "dot git in capitals", tree: raw("100644 .GiT"), want: "hasDotgit"},
		{name: "dot git as a short name", tree: raw("100644 git~1"), want: "hasDotgit"},
		{name: "dot", tree: raw("100644 ."), want: "hasDot"},
		{name: "dot dot", tree: raw("100644 .."), want: "hasDotdot"},
		{name: "slash", tree: raw("100644 a/b"), want: "fullPathname"},
		{name: "mode", tree: raw("100666 f"), want: "badFilemode"},
		{name: "padded mode", tree: raw("0100644 f"), want: "zeroPaddedFilemode"},
		{name: "link as .gitattributes", tree: raw("120000 .gitattributes"), blob: "/etc/passwd", want: "gitattributesSymlink"},
		{name: "link as .gitignore", tree: raw("120000 .gitignore"), blob: "/etc/passwd", want: "gitignoreSymlink"},
		{name: "link as .gitmodules", tree: raw("120000 .gitmodules"), blob: "/etc/passwd", want: "gitmodulesSymlink"},
		{name: "command as module", tree: raw("100644 .gitmodules"), blob: "[submodule \"a\"]\n\tpath = a\n\turl = -u./payload\n", want: "gitmodulesUrl"},
		{name: "option as module path", tree: raw("100644 .gitmodules"), blob: "[submodule \"a\"]\n\tpath = -a\n\turl = ./a\n", want: "gitmodulesPath"},
		{name: "two authors", text: func(tree string) string { return commit(tree, "author B <a@b> 1700000000 +0000\n") }, want: "multipleAuthors"},
		{name: "NUL in a message", text: func(tree string) string { return commit(tree, "") + "a\x00b\n" }, want: "nulInCommit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := workTree(t, 0)
			hash := func(kind, content string) string {
				path := filepath.Join(dir, "object")
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				return mustClient(t, dir, "hash-object", "--literally", "-w", "-t", kind, path)
			}
			if tt.tree == nil {
				tt.tree = raw("100644 f")
			}
			tree := hash("tree", tt.tree(hash("blob", tt.blob+"\n")))
			text := commit(tree, "")
			if tt.text != nil {
				text = tt.text(tree)
			}
			id := hash("commit", text)
			s := newStage(t, g, ReceiveOptions{})
			out, err := client(t, dir, "push", s.url, id+":refs/heads/main")
			if err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("%v, want a refusal with %s:\n%s", err, tt.want, out)
			}
			if loose, packs := s.objects(); loose != "0" || packs != "0" {
				t.Errorf("%s loose objects and %s packs are left", loose, packs)
			}
			if _, err := os.Stat(s.seen); err == nil {
				t.Error("the hook was asked")
			}
		})
	}
}

// raw makes a tree of one entry.
func raw(entry string) func(string) string {
	return func(blob string) string {
		var id [20]byte
		_, _ = hex.Decode(id[:], []byte(blob))
		return entry + "\x00" + string(id[:])
	}
}

func TestReceivePackRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	s := newStage(t, newGit(t), ReceiveOptions{MaxInput: 50 << 10})
	dir := workTree(t, 1)
	if out, err := client(t, dir, "push", s.url, "main"); err == nil {
		t.Errorf("accepted:\n%s", out)
	}
	for range 2 {
		if err := <-s.errs; err != nil {
			t.Errorf("ReceivePack: %v; git's report is the answer", err)
		}
	}
	if loose, packs := s.objects(); loose != "0" || packs != "0" {
		t.Errorf("%s loose objects and %s packs are left", loose, packs)
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "objects", "*tmp*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}

// TestReceivePackKnowsItsFaults looks for the warning about a fault that this
// git has no name for.
func TestReceivePackKnowsItsFaults(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, _ := newRepository(t, g)
	p, err := g.prepare(t.Context(), command{class: Pushes, options: receiveOptions(ReceiveOptions{}), args: []string{"receive-pack", "--http-backend-info-refs", "--", dir}})
	if err == nil {
		err = p.start(io.Discard)
	}
	if err == nil {
		err = p.wait()
	}
	if text := p.stderr.String(); err != nil || text != "" {
		t.Errorf("git says %q, %v", text, err)
	}
}

func TestReceivePackHidesRefs(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	for _, ref := range []string{"refs/heads/main", "refs/tags/1.0.0", "refs/archives/a", "refs/superseded/1.0.0/1", "refs/deployed/1.0.0", "refs/deployments/1", "refs/observed/head"} {
		output(t, g, dir, "", "update-ref", ref, one)
	}
	var out strings.Builder
	if err := g.ReceivePack(t.Context(), dir, dm.ReceiveRound{Advertise: true, Out: &out}, ReceiveOptions{
		Hidden: []string{"refs/archives/", "refs/superseded/", "refs/deployed", "refs/deployments/", "refs/observed/head"},
	}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), one); n != 2 || !strings.Contains(out.String(), "refs/heads/main") || !strings.Contains(out.String(), "refs/tags/1.0.0") {
		t.Errorf("the advertisement has %d refs, want 2:\n%q", n, out.String())
	}
	if !strings.Contains(out.String(), "push-options") || strings.Contains(out.String(), "atomic") {
		t.Errorf("abilities: %q", out.String())
	}
}

func TestReceivePackOfBadRequests(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	id := strings.Repeat("1", 40)
	tests := []struct {
		name, in string
		shallow  bool
	}{
		{"no length", "zzzz", false},
		{"cut off", "0070" + id, false},
		{"short shallow", "0008shallow " + id, true},
		{"shallow cut off", "0035shallow " + id[:10], true},
		{"shallow without a name", "0035shallow " + strings.Repeat("x", 41), true},
		{"long shallow", "0fffshallow " + strings.Repeat("1", 4096), true},
		{"many shallow", strings.Repeat("0034shallow "+id, maxShallow+1), true},
		{"rubbish that calls itself shallow", "0035shallow " + strings.Repeat("x", 41), false},
		{"shallow behind a command", packet(id+" "+id+" refs/tags/v1.0.0") + packet("shallow x"), true},
		{"certificate", packet("push-cert\x00 report-status"), false},
		{"certificate behind a command", packet(id+" "+id+" refs/tags/v1.0.0") + packet("push-cert\n"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, _ := newRepository(t, g)
			err := g.ReceivePack(t.Context(), dir, dm.ReceiveRound{In: strings.NewReader(tt.in), Out: io.Discard}, ReceiveOptions{Shallow: tt.shallow})
			if dm.KindOf(err) != dm.Invalid {
				t.Errorf("kind %q, want %q: %v", dm.KindOf(err), dm.Invalid, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "shallow")); err == nil {
				t.Error("the repository was made shallow")
			}
		})
	}
}

// TestReceivePackTakesNoEndlessCommands sends commands and no end.
func TestReceivePackTakesNoEndlessCommands(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, _ := newRepository(t, g)
	commands := strings.Repeat(packet(strings.Repeat("x", 60_000)), maxFront/60_000+2)
	err := g.ReceivePack(t.Context(), dir, dm.ReceiveRound{In: strings.NewReader(commands), Out: io.Discard}, ReceiveOptions{})
	if dm.KindOf(err) != dm.TooLarge {
		t.Errorf("got %v, want kind %q", err, dm.TooLarge)
	}
}

// TestLimitsOfAPush compares what git gets for packs of some sizes.
func TestLimitsOfAPush(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		maxInput, alloc int64
		cpu             time.Duration
	}{
		{0, 192 << 20, 0}, {1, 64 << 20, 2 * time.Second}, {100 << 20, 100 << 20, 52 * time.Second}, {1 << 30, 192 << 20, 514 * time.Second},
	} {
		if alloc, cpu := allocLimit(tt.maxInput), cpuLimit(tt.maxInput); alloc != tt.alloc || cpu != tt.cpu {
			t.Errorf("a pack of %d bytes: got %d bytes and %v, want %d and %v", tt.maxInput, alloc, cpu, tt.alloc, tt.cpu)
		}
	}
}
