package hooks

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
)

// TestPushPublishes pushes a tag with the real git.
func TestPushPublishes(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, nil)
	b.git(b.work, "tag", "v1.2.3")
	p := &fakePush{repository: flowPackage}
	out, exit := b.push(p, "-o", "reason=the second rack ", "origin", "v1.2.3")
	if exit != 0 {
		t.Fatalf("exit status %d\n%s", exit, out)
	}
	wantIn(t, out, "remote: flow-1.2.3 is published; deploy it with: PUT /packages/flow-1.2.3\n", "* [new tag]         v1.2.3 -> 1.2.3\n")
	tip := dm.Revision(strings.TrimSpace(b.git(b.work, "rev-parse", "v1.2.3")))
	want := dm.PushedRef{Name: "refs/tags/v1.2.3", New: tip, Reason: "the second rack"}
	if len(p.judged) != 1 || len(p.accepted) != 1 {
		t.Fatalf("judged %d refs and accepted %d, want one each", len(p.judged), len(p.accepted))
	}
	for _, got := range []dm.PushedRef{p.judged[0], p.accepted[0]} {
		if *got.Version != (dm.Version{Major: 1, Minor: 2, Patch: 3}) {
			t.Errorf("version = %s, want 1.2.3", got.Version)
		}
		got.Version = nil
		if got != want {
			t.Errorf("ref = %+v, want %+v", got, want)
		}
	}
}

// TestSmallProgram pushes through the program that servers have beside theirs.
func TestSmallProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "hook")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../cmd/deployment-manager-hook")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	b := newGitBench(t, func(c *PushConfig) { c.Program = program })
	b.git(b.work, "tag", "1.0.0")
	b.git(b.work, "tag", "2.0.0")
	p := &fakePush{repository: flowPackage}
	p.accept = func(_ context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		if ref.Version.Major == 2 {
			return dm.PushOutcome{}, dm.Refuse("test", "too many", slices.Repeat([]dm.Finding{{Message: strings.Repeat("x", 900)}}, 150))
		}
		return p.moved(ref), nil
	}
	out, exit := b.push(p, "-o", "reason=new", "origin", "1.0.0", "2.0.0")
	wantIn(t, out, "remote: flow-1.0.0 is published", "* [new tag]         1.0.0 -> 1.0.0", "! [remote rejected] 2.0.0 -> 2.0.0 (too many)")
	if n := strings.Count(out, strings.Repeat("x", 900)); exit == 0 || n != 150 || p.judged[0].Reason != "new" {
		t.Errorf("exit status %d, %d findings, reason %q; want a failure, 150 and new", exit, n, p.judged[0].Reason)
	}
	alone, err := exec.Command(program).CombinedOutput()
	if want := "proc-receive: this repository accepts pushes only through its server\n"; err == nil || string(alone) != want {
		t.Errorf("alone it says %q, error %v; want %q", alone, err, want)
	}
}

// TestPushRefusals pushes with the real git what must not be taken.
func TestPushRefusals(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, nil)
	b.git(b.work, "tag", "1.0.0")
	for n := range 11 {
		b.git(b.work, "branch", fmt.Sprintf("b%d", n))
	}
	// A version that is published, as the client sees it.
	b.git(b.bare, "fetch", "-q", "--no-tags", b.work, "+refs/heads/main:refs/tags/3.0.0")
	b.git(b.work, "commit", "-q", "--allow-empty", "-m", "two")
	refuse := func(context.Context, dm.PushedRef) (dm.PushOutcome, error) {
		return dm.PushOutcome{}, dm.Refuse("test", "the change is no good", []dm.Finding{
			{Type: "oozie", Component: "daily", Message: "needs a name"}, {Message: "bell \a and \x1b[31mred\nsecond line"},
		}).WithHint("look again")
	}
	tests := []struct {
		name string
		push *fakePush
		args []string
		want []string
	}{
		{"all findings at once", &fakePush{repository: noonApplication, judge: refuse}, []string{"origin", "main"}, []string{
			"remote: refs/heads/main: the change is no good\n", "remote:   oozie/daily: needs a name\n",
			`remote:   bell \a and \x1b[31mred\nsecond line` + "\n", "remote: hint: look again\n",
			"! [remote rejected] main -> main (the change is no good)",
		}},
		{"a branch of a package", &fakePush{repository: flowPackage}, []string{"origin", "main", "b1", "1.0.0"}, []string{
			"remote: refs/heads/main is read-only\n",
			"remote: refs/heads/b1 is not accepted: a package has only tags of versions\n", "remote: hint: push a tag named for the version",
			"main -> main (refs/heads/main is read-only)",
			"b1 -> b1 (refs/heads/b1 is not accepted: a package has only tags of versions)", "1.0.0 -> 1.0.0 (another ref of this push is refused)",
		}},
		{"a tag of an application", &fakePush{repository: noonApplication}, []string{"origin", "1.0.0"}, []string{
			"remote: refs/tags/1.0.0 is not accepted: an application has only the branch main",
		}},
		{"two names of one version", &fakePush{repository: flowPackage}, []string{"origin", "1.0.0", "1.0.0:refs/tags/v1.0.0"}, []string{
			"remote: refs/tags/1.0.0 and refs/tags/v1.0.0 are the same version\n",
		}},
		{"more than ten", &fakePush{repository: noonApplication}, []string{"origin", "refs/heads/b*"}, []string{
			"remote: the push has 11 refs, at most 10 are allowed\n",
		}},
		{"a delete", &fakePush{repository: flowPackage}, []string{"origin", ":3.0.0"}, []string{
			"remote: refs/tags/3.0.0 cannot be deleted by a push\n", "remote: hint: withdraw",
		}},
		{"a version moved by force", &fakePush{repository: flowPackage}, []string{"-f", "origin", "main:refs/tags/3.0.0"}, []string{
			"remote: refs/tags/3.0.0 already exists, and versions are immutable\n",
			"remote: hint: publish the new content under a new version number\n",
		}},
		{"a replacement", &fakePush{repository: noonApplication}, []string{"origin", "main:refs/replace/" + oneID}, []string{
			"remote: refs/replace/" + oneID + " is a replace ref",
		}},
		{"an observation", &fakePush{repository: noonApplication}, []string{"origin", "main:refs/observed/head"}, []string{
			"remote: refs/observed/head is read-only\n",
		}},
		{"options", &fakePush{repository: flowPackage}, []string{"-o", "force", "-o", "reason=a", "-o", "reason=b", "-o", "dry-run=\x1b[2J", "origin", "1.0.0"}, []string{
			"remote: unknown push option force\n", "remote: duplicate push option reason\n",
			`remote: unknown push option "dry-run=\x1b[2J"` + "\n", "remote: hint: the push options are dry-run, accept-faults and reason=<text>\n",
		}},
		{"a workspace", &fakePush{repository: dm.Repository{Kind: dm.WorkspaceRepository, Name: "ana"}}, []string{"origin", "main"}, []string{
			"remote: the server alone writes this repository: it syncs it from the applications\n",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, exit := b.push(tt.push, tt.args...)
			wantIn(t, out, tt.want...)
			if _, accepted := tt.push.calls(); exit == 0 || len(accepted) > 0 {
				t.Errorf("exit status %d, accepted %q; want a failure and nothing", exit, accepted)
			}
			if strings.ContainsAny(out, "\x1b\a") {
				t.Errorf("a control character reached the terminal: %q", out)
			}
		})
	}
	t.Cleanup(func() {
		if got := b.git(b.bare, "for-each-ref", "--format=%(refname)"); got != "refs/tags/3.0.0\n" {
			t.Errorf("refs afterwards = %q, want what was there", got)
		}
	})
}

// TestPushDryRun checks that a dry run ends well, changes nothing, and leaves
// the client's tracking refs alone.
func TestPushDryRun(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, nil)
	first := strings.TrimSpace(b.git(b.work, "rev-parse", "main"))
	b.git(b.work, "tag", "v1.2.3")
	b.git(b.bare, "fetch", "-q", "--no-tags", b.work, "main:main")
	b.git(b.work, "fetch", "-q", "--no-tags", "origin")
	b.git(b.work, "commit", "-q", "--allow-empty", "-m", "two")

	tag := &fakePush{repository: flowPackage}
	out, exit := b.push(tag, "-o", "dry-run", "origin", "v1.2.3")
	wantIn(t, out, "remote: dry run: flow-1.2.3 would be published\n", "v1.2.3 -> refs/dry-run/v1.2.3\n")
	if _, accepted := tag.calls(); exit != 0 || len(accepted) > 0 {
		t.Errorf("exit status %d, accepted %q; want 0 and nothing", exit, accepted)
	}

	app := &fakePush{repository: noonApplication}
	app.judge = func(context.Context, dm.PushedRef) (dm.PushOutcome, error) {
		return dm.PushOutcome{Changed: true, Notes: []string{"2 components are delivered"}}, nil
	}
	out, exit = b.push(app, "-o", "dry-run", "origin", "main")
	wantIn(t, out, "remote: dry run: the change of noon-run would be accepted\n", "remote: 2 components are delivered\n", "main -> refs/dry-run/main\n")
	if _, accepted := app.calls(); exit != 0 || len(accepted) > 0 {
		t.Errorf("exit status %d, accepted %q; want 0 and nothing", exit, accepted)
	}
	if got := strings.TrimSpace(b.git(b.work, "rev-parse", "origin/main")); got != first {
		t.Errorf("origin/main = %s, want %s as before", got, first)
	}
	if got := b.git(b.work, "for-each-ref", "--format=%(refname)"); strings.Contains(got, "dry-run") {
		t.Errorf("the client has got a ref of the dry run: %q", got)
	}
	b.wantPushes("packages", pushDry, 1)
	b.wantPushes("applications", pushDry, 1)
}

// TestPushNotAccepted checks what the person sees when proc-receive says no to
// one of two refs.
func TestPushNotAccepted(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, nil)
	b.git(b.work, "tag", "1.0.0")
	b.git(b.work, "tag", "1.1.0")
	p := &fakePush{repository: flowPackage}
	p.accept = func(_ context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		if ref.Version.Minor == 0 {
			return dm.PushOutcome{}, dm.Refuse("test", "1.0.0 holds other\x1b[2J files\nnow", []dm.Finding{{Path: "a.txt", Message: "differs"}})
		}
		return p.moved(ref), nil
	}
	out, exit := b.push(p, "origin", "1.0.0", "1.1.0")
	wantIn(t, out, `remote: refs/tags/1.0.0: 1.0.0 holds other\x1b[2J files\nnow`+"\n", "remote:   a.txt: differs\n",
		"remote: flow-1.1.0 is published", "* [new tag]         1.1.0 -> 1.1.0\n", `! [remote rejected] 1.0.0 -> 1.0.0 (1.0.0 holds other\x1b[2J files\nnow)`)
	if exit == 0 || strings.ContainsAny(out, "\x1b") {
		t.Errorf("exit status %d, want a failure without control characters: %q", exit, out)
	}
	b.wantPushes("packages", pushRefused, 1)

	atomic := &fakePush{repository: flowPackage}
	out, exit = b.push(atomic, "--atomic", "origin", "1.0.0", "1.1.0")
	wantIn(t, out, "! [remote rejected] 1.0.0 -> 1.0.0 (versions are published one by one, push without --atomic)")
	if _, accepted := atomic.calls(); exit == 0 || len(accepted) > 0 {
		t.Errorf("exit status %d, accepted %q; want a failure and nothing", exit, accepted)
	}
}

// TestPushProgress checks the lines that follow an accepted change, and that
// the client's tracking ref is what was pushed.
func TestPushProgress(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, func(c *PushConfig) {
		c.Address = func(app dm.ApplicationName) string { return "https://dm.example/#" + string(app) }
	})
	p := &fakePush{repository: noonApplication}
	p.accept = func(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		for _, e := range []dm.Event{
			{ID: "noon-run", State: dm.Created, Stamp: dm.Stamp{RequestID: "another change"}},
			{ID: "other", State: dm.Created, Stamp: dm.Stamp{RequestID: dm.RequestID(ctx)}},
			{ID: "noon-run", State: dm.Creating, Stamp: dm.Stamp{RequestID: dm.RequestID(ctx)}, Information: "of the change before"},
			{ID: "noon-run", State: dm.NotCreated, Stamp: dm.Stamp{RequestID: dm.RequestID(ctx)}, Information: "the engine says\n  no \x1b[5m"},
			{ID: "noon-run", State: dm.Created, Stamp: dm.Stamp{RequestID: dm.RequestID(ctx)}},
		} {
			e.Kind = dm.ApplicationEvent
			b.events.emit(e)
		}
		return p.moved(ref), nil
	}
	out, exit := b.push(p, "origin", "main")
	wantIn(t, out, "remote: noon-run: CREATING\nremote: noon-run: NOTCREATED: the engine says\nremote:   no \\x1b[5m\nremote: watch it at https://dm.example/#noon-run\n",
		"* [new branch]      main -> main\n")
	if exit != 0 {
		t.Errorf("exit status %d, want 0", exit)
	}
	if got, want := b.git(b.work, "rev-parse", "origin/main"), b.git(b.work, "rev-parse", "main"); got != want {
		t.Errorf("origin/main = %s, want %s", got, want)
	}
	b.wantPushes("applications", pushAccepted, 1)
}

// TestPushesAtOnce pushes from several developers to one server.
func TestPushesAtOnce(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, nil)
	var all sync.WaitGroup
	for n := range 5 {
		tag := fmt.Sprintf("1.0.%d", n)
		b.git(b.work, "tag", tag)
		all.Go(func() {
			p := &fakePush{repository: flowPackage}
			if out, exit := b.push(p, "origin", tag); exit != 0 {
				t.Errorf("%s: exit status %d\n%s", tag, exit, out)
			}
			if _, accepted := p.calls(); !slices.Equal(accepted, []string{"refs/tags/" + tag}) {
				t.Errorf("%s: accepted %q", tag, accepted)
			}
		})
	}
	all.Wait()
	b.wantPushes("packages", pushAccepted, 5)
}

// TestPushWithoutSession checks that git can't push past the server.
func TestPushWithoutSession(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, nil)
	out, err := b.command(b.work, nil, "push", "origin", "main").CombinedOutput()
	if err == nil {
		t.Fatalf("the push went through\n%s", out)
	}
	wantIn(t, string(out), "proc-receive: this repository accepts pushes only through its server")
}

// TestHostileNamesThroughGit sends the names that git's client refuses to send
// to the real git receive-pack, byte for byte.
func TestHostileNamesThroughGit(t *testing.T) {
	t.Parallel()
	b := newGitBench(t, nil)
	b.git(b.bare, "fetch", "-q", "--no-tags", b.work, "+refs/heads/main:refs/tags/3.0.0")
	tip := strings.TrimSpace(b.git(b.bare, "rev-parse", "refs/tags/3.0.0"))
	empty := []byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00")
	sum := sha1.Sum(empty)

	for group := range slices.Chunk(hostileNames, maxRefs) {
		var in bytes.Buffer
		caps := "\x00report-status side-band-64k agent=test"
		for _, h := range group {
			packet(&in, zeroID+" "+tip+" "+h.name+caps)
			caps = ""
		}
		in.WriteString(flushPacket)
		in.Write(append(empty, sum[:]...))
		p := &fakePush{repository: flowPackage}
		s, end := b.open(p)
		cmd := b.command(b.bare, s.Environment, "receive-pack", "--stateless-rpc", b.bare)
		cmd.Stdin = &in
		out, err := cmd.Output()
		end()
		if _, failed := err.(*exec.ExitError); err != nil && !failed {
			t.Fatal(err)
		}
		if strings.Contains(string(out), "ok refs/") || len(p.accepted) > 0 {
			t.Errorf("accepted one of %q:\n%q", group, out)
		}
		shown := remoteLines(t, out)
		wantIn(t, shown, quoted(group[0].name))
		if strings.IndexFunc(strings.ReplaceAll(shown, "\n", ""), func(r rune) bool { return r == utf8.RuneError || !unicode.IsGraphic(r) }) >= 0 {
			t.Errorf("what the terminal gets is not plain: %q", shown)
		}
	}
	if got := b.git(b.bare, "for-each-ref", "--format=%(refname)"); got != "refs/tags/3.0.0\n" {
		t.Errorf("refs afterwards = %q, want what was there", got)
	}
	b.git(b.bare, "fsck", "--strict")
	b.git(b.work, "tag", "4.0.0")
	if out, exit := b.push(&fakePush{repository: flowPackage}, "origin", "4.0.0"); exit != 0 {
		t.Errorf("a good push afterwards fails: %s", out)
	}
}

// remoteLines is what receive-pack's answer shows behind "remote:".
func remoteLines(t *testing.T, answer []byte) string {
	t.Helper()
	var shown strings.Builder
	for r := bytes.NewReader(answer); r.Len() > 0; {
		text, flush, err := readPacket(r)
		if err != nil {
			t.Fatal(err)
		}
		if !flush && text[0] == 2 {
			shown.WriteString(text[1:] + "\n")
		}
	}
	return shown.String()
}

// wantPushes checks the counter; a session that has ended is counted.
func (b *pushBench) wantPushes(kind, outcome string, want float64) {
	b.Helper()
	metric := fmt.Sprintf("dm_pushes_total{%s,%s}", kind, outcome)
	if got := measured(b.T, b.registry, metric); got != want {
		b.Errorf("%s = %v, want %v", metric, got, want)
	}
}
