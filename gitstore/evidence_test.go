package gitstore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// drop deletes a ref with git, as somebody does who has got at the disk.
func (f forger) drop(ref string) { f.git("", "update-ref", "-d", ref) }

// packed brings all refs of the repository into packed-refs, as maintenance does.
func (f forger) packed() string {
	f.git("", "pack-refs", "--all", "--prune")
	return filepath.Join(f.dir, "packed-refs")
}

// lose removes a file of the repository, which must be there.
func (f forger) lose(path string) { check(f.t, os.Remove(filepath.Join(f.dir, path))) }

// loseLine removes the line of a ref from packed-refs.
func (f forger) loseLine(ref string) {
	f.t.Helper()
	path := f.packed()
	text, err := os.ReadFile(path)
	check(f.t, err)
	var left []string
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		of := line
		if strings.HasPrefix(line, "^") { // what the tag before it leads to
			of = lines[i-1]
		}
		if !strings.HasSuffix(of, " "+ref+"\n") {
			left = append(left, line)
		}
	}
	if len(left) == len(lines) {
		f.t.Fatalf("packed-refs has no line of %s", ref)
	}
	check(f.t, os.WriteFile(path, []byte(strings.Join(left, "")), 0o640))
}

// TestVanishedRefs removes and sets back refs of a genuine record below a
// stopped server. The next one must not take the place for free. Some of it the
// record itself contradicts, also one from before there was known-refs.
func TestVanishedRefs(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	const (
		app, flow = "applications/app.git", "packages/flow.git"
		main      = "refs/heads/main"
		observed  = "refs/observed/head"
		withdrawn = "refs/superseded/1.1.0/1"
		decided   = "refs/deployed/1.0.0"
		tagged    = "refs/tags/1.0.0"
		none      = "none"
	)
	for _, c := range []struct {
		name, repository string
		do               func(forger)
		found            string // what is told; "" of what is derived, and is no fault
		alone            string // what is told without known-refs; none when nothing can be
	}{
		{"a tag", flow, func(f forger) { f.drop(tagged) }, tagged, tagged},
		{"a line of packed-refs", flow, func(f forger) { f.loseLine(tagged) }, tagged, tagged},
		{"packed-refs", flow, func(f forger) { f.packed(); f.lose("packed-refs") }, decided, decided},
		{"packed-refs emptied", flow, func(f forger) { check(f.t, os.Truncate(f.packed(), 0)) }, decided, decided},
		{"another tag", flow, func(f forger) { f.rewrite(tagged, "DM-Via: test", "DM-Via: rest") }, tagged, none},
		{"a withdrawal", flow, func(f forger) { f.drop(withdrawn) }, withdrawn, "refs/tags/1.1.0"},
		{"a deployment", flow, func(f forger) { f.drop(decided) }, decided, decided},
		{"a deployment set back", flow, func(f forger) { f.point(decided, decided+"~2") }, decided, none},
		{"the whole package", flow, func(f forger) { check(f.t, os.RemoveAll(f.dir)) }, "packages/flow: damaged: .: it is missing", "made from flow-1.0.0"},
		{"main of a package", flow, func(f forger) { f.drop(main) }, "", ""},

		{"the outcomes", app, func(f forger) { f.drop(observed) }, observed, observed},
		{"an outcome", app, func(f forger) { f.point(observed, observed+"^") }, observed, none},
		{"a change set back", app, func(f forger) { f.point(main, main+"~2") }, main, main},
		{"a start set back", app, func(f forger) { f.point(main, main+"^") }, main, none},
		{"main", app, func(f forger) { f.drop(main) }, main, main},
		{"all refs", app, func(f forger) { f.packed(); f.lose("packed-refs") }, main, main},
		{"the whole application", app, func(f forger) { check(f.t, os.RemoveAll(f.dir)) }, "applications/app: damaged: .: it is missing", none},
		{"a number", app, func(f forger) { f.drop("refs/deployments/1") }, "", ""},
		{"nothing", app, func(f forger) { f.packed() }, "", ""},
	} {
		for _, before := range []bool{false, true} {
			name, found := c.name, c.found
			if before {
				name += ", without known-refs"
				if c.alone == none {
					continue
				}
				found = c.alone
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "data")
				check(t, os.CopyFS(dir, os.DirFS(record)))
				c.do(forger{t, filepath.Join(dir, c.repository)})
				if before {
					check(t, os.Remove(filepath.Join(dir, "known-refs")))
				}
				starts := 1
				if found == tagged || found == main { // the second one must know it as well
					starts = 2
				}
				for range starts {
					h := openStill(t, dir)
					if found == "" {
						h.sound()
					} else {
						h.wantFound(found)
						h.wantNotFree(c.repository == flow)
					}
					h.stop()
				}
			})
		}
	}
}

// wantFound wants verify to tell of a ref of a repository.
func (h *house) wantFound(ref string) {
	h.t.Helper()
	var found []string
	check(h.t, h.Verify(ctx, func(p string) { found = append(found, p) }))
	all := strings.Join(found, "\n")
	if !strings.Contains(all, ref) {
		h.t.Errorf("verify found:\n%s\nwant %s", all, ref)
	}
}

// wantNotFree wants a number of flow, or the name app, not to be given anew.
func (h *house) wantNotFree(flow bool) {
	h.t.Helper()
	if !flow {
		_, _, err := h.Application(ctx, "app")
		wantKind(h.t, err, dm.Unavailable, "app")
		ref, err := dm.ParsePackageRef("flow-1.0.0")
		check(h.t, err)
		wantKind(h.t, h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: ref}), dm.Unavailable, "app")
		return
	}
	other := notebook("flow-1.0.0", "other bytes")
	_, err := h.Publish(ctx, as("ana"), file(h.t, "flow-1.0.0.tar.gz"), bytes.NewReader(other), int64(len(other)))
	wantKind(h.t, err, dm.Unavailable, "flow")
	wantKind(h.t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"), dm.Unavailable, "flow")
}

// TestRefsComeBack loses refs whose objects are still there: a repair brings them
// back, and all is as if nothing had been. What somebody else has put in the place
// of a ref it leaves alone.
func TestRefsComeBack(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	const app, flow = "applications/app.git", "packages/flow.git"
	for _, c := range []struct {
		name, repository string
		do               func(forger)
		back             bool
	}{
		{"a tag", flow, func(f forger) { f.drop("refs/tags/1.0.0") }, true},
		{"all refs of a package", flow, func(f forger) { f.packed(); f.lose("packed-refs") }, true},
		{"a deployment set back", flow, func(f forger) { f.point("refs/deployed/1.0.0", "refs/deployed/1.0.0~2") }, true},
		{"all refs of an application", app, func(f forger) { f.packed(); f.lose("packed-refs") }, true},
		{"a change set back", app, func(f forger) { f.point("refs/heads/main", "main~2") }, true},
		{"another tag", flow, func(f forger) { f.rewrite("refs/tags/1.0.0", "DM-Via: test", "DM-Via: rest") }, false},
		{"another change", app, func(f forger) { f.rewrite("refs/heads/main", "DM-Via: test", "DM-Via: rest") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			check(t, os.CopyFS(dir, os.DirFS(record)))
			f := forger{t, filepath.Join(dir, c.repository)}
			refs := func() string { // but main, which may show an earlier upload than a withdrawn one
				return f.git("", "for-each-ref", "refs/tags", "refs/superseded", "refs/archives", "refs/deployed", "refs/observed", "refs/deployments")
			}
			before := refs()
			c.do(f)
			h := openStill(t, dir)
			left := h.Service().Repair(ctx).Left
			if (len(left) == 0) != c.back {
				t.Fatalf("out of service after the repair: %v", left)
			}
			if !c.back {
				return
			}
			h.sound()
			if after := refs(); after != before {
				t.Errorf("the repair made\n%s\nwant\n%s", after, before)
			}
		})
	}
}

// TestRemovedOnPurpose removes an application and what is known of it.
func TestRemovedOnPurpose(t *testing.T) {
	t.Parallel()
	dir := genuine(t)
	check(t, os.RemoveAll(filepath.Join(dir, "applications/app.git")))
	check(t, os.RemoveAll(filepath.Join(dir, "users/ana.git")))
	path := filepath.Join(dir, "known-refs")
	text, err := os.ReadFile(path)
	check(t, err)
	var left []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, " applications/app.git ") {
			left = append(left, line)
		}
	}
	check(t, os.WriteFile(path, []byte(strings.Join(left, "")), 0o640))
	h := open(t, dir)
	ref, err := dm.ParsePackageRef("flow-1.0.0")
	check(t, err)
	h.created("ana", "app", ref)
	h.sound()
}

// TestDeployOfWhatWasWithdrawn takes a version away under an application and asks
// for its deploy again, which fails. Nothing of the record is gone by that: the
// same bytes bring the version back.
func TestDeployOfWhatWasWithdrawn(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	const id, name = "flow-1.0.0", "flow-1.0.0.tar.gz"
	h.created("ana", "app", h.deployed("ana", id, "one"))
	check(t, h.Withdraw(ctx, as("ana"), file(t, name)))
	check(t, h.UndeployPackage(ctx, as("ana"), id))
	check(t, h.DeployPackage(ctx, as("ana"), id))
	h.stop()
	h = open(t, h.dir)
	h.sound()
	check(t, h.DeployPackage(ctx, as("ana"), id))
	h.publish("ana", name, notebook(id, "one"))
	check(t, h.DeployPackage(ctx, as("ana"), id))
	if st, err := h.PackageStatus(ctx, id); err != nil || st.Phase != dm.Deployed {
		t.Errorf("%+v, %v", st, err)
	}
	h.sound()
}

// TestKnownRefsLag takes from the file what a power cut may take, and leaves in
// it what one may leave.
func TestKnownRefsLag(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	text, err := os.ReadFile(filepath.Join(record, "known-refs"))
	check(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	for name, left := range map[string]string{
		"all":          "",
		"half":         strings.Join(lines[:len(lines)/2], ""),
		"half a line":  strings.TrimSuffix(string(text), lines[len(lines)-2][20:]),
		"a first line": strings.Join(lines[1:], ""),
		"zeros":        strings.Join(lines[:2], "") + strings.Repeat("\x00", 500) + strings.Join(lines[3:], ""),
		"a long name":  strings.Replace(string(text), "refs/tags/1.0.0 ", "refs/tags/1.0.00 ", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			check(t, os.CopyFS(dir, os.DirFS(record)))
			check(t, os.WriteFile(filepath.Join(dir, "known-refs"), []byte(left), 0o640))
			h := openStill(t, dir)
			h.sound()
			h.stop()
			// What the refs had to add is there again.
			f := forger{t, filepath.Join(dir, "applications/app.git")}
			f.point("refs/heads/main", "main^")
			h = openStill(t, dir)
			h.wantFound("refs/heads/main")
		})
	}
}

// TestVanishedWhileServing loses a repository below a running server: a new one
// must not begin in its place.
func TestVanishedWhileServing(t *testing.T) {
	t.Parallel()
	h := openStill(t, genuine(t))
	check(t, os.RemoveAll(filepath.Join(h.dir, "packages/flow.git")))
	next := notebook("flow-1.2.0", "three")
	_, err := h.Publish(ctx, as("ana"), file(t, "flow-1.2.0.tar.gz"), bytes.NewReader(next), int64(len(next)))
	wantKind(t, err, dm.Unavailable, "the repository of flow is missing")
	wantKind(t, h.DeployPackage(ctx, as("ana"), "flow-3.0.0"), dm.Unavailable, "the repository of flow is missing")
	if _, err := os.Lstat(filepath.Join(h.dir, "packages/flow.git")); err == nil {
		t.Error("a new repository began in the place of the lost one")
	}
}
