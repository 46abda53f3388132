package gitstore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// reading is a house that is read while it is changed and maintained.
type reading struct {
	*house
	mu    sync.Mutex
	tags  map[string]dm.Published // acknowledged versions by ref
	reads atomic.Int64
	wrong atomic.Int64
}

// acknowledged is what a read that starts now has to see.
func (r *reading) acknowledged() map[string]dm.Published {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.tags)
}

// fault counts a read that went wrong.
func (r *reading) fault(format string, args ...any) {
	if r.wrong.Add(1) <= 10 {
		r.t.Errorf(format, args...)
	}
}

// shows checks a listing of lines "id ref" against what had to be in it.
func (r *reading) shows(how string, want map[string]dm.Published, listing string) {
	got := map[string]string{}
	for line := range strings.Lines(listing) {
		id, ref, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || len(id) != 40 || strings.HasSuffix(ref, ".lock") {
			r.fault("%s shows %q", how, line)
		}
		got[ref] = id
	}
	for ref, p := range want {
		if got[ref] != string(p.Tag) {
			r.fault("%s shows %s as %q, want %s", how, ref, got[ref], p.Tag)
		}
	}
}

// byForEachRef reads the refs as anybody on the machine may.
func (r *reading) byForEachRef() {
	want := r.acknowledged()
	r.shows("for-each-ref", want, r.plainGit("packages/flow.git", "for-each-ref", "--format=%(objectname) %(refname)"))
}

// byUploadPack reads the refs as a client of the server does.
func (r *reading) byUploadPack() {
	want := r.acknowledged()
	var out bytes.Buffer
	request := "0014command=ls-refs\n00010000"
	err := r.UploadPack(ctx, dm.Repository{Kind: dm.PackageRepository, Name: "flow"}, dm.UploadRound{Protocol: "version=2", In: strings.NewReader(request), Out: &out})
	if err != nil {
		r.fault("upload-pack: %v", err)
		return
	}
	var listing strings.Builder
	for text := out.String(); len(text) >= 4 && text[:4] != "0000"; {
		var size int
		if _, err := fmt.Sscanf(text[:4], "%04x", &size); err != nil || size > len(text) {
			r.fault("upload-pack answers %.60q", text)
			return
		}
		if line := text[4:size]; !strings.HasSuffix(line, " HEAD\n") {
			listing.WriteString(line)
		}
		text = text[size:]
	}
	r.shows("upload-pack", want, listing.String())
}

// byIndex reads what the server's memory lists, and the bytes of archives.
func (r *reading) byIndex() {
	want := r.acknowledged()
	listed := map[dm.PackageFile]bool{}
	for _, l := range r.ListPackages(0) {
		for _, f := range l.Versions {
			listed[f] = true
		}
	}
	for ref, p := range want {
		if !listed[p.File] {
			r.fault("the listing lacks %s", ref)
		}
	}
	for ref, p := range want { // any of them
		a, err := r.OpenArchive(ctx, p.File)
		if err != nil {
			r.fault("archive of %s: %v", ref, err)
			return
		}
		digest := sha256.New()
		_, err = io.Copy(digest, a)
		if got := hex.EncodeToString(digest.Sum(nil)); err != nil || a.Close() != nil || got != p.Digest {
			r.fault("archive of %s has digest %s, %v; want %s", ref, got, err, p.Digest)
		}
		return
	}
}

// byObjects reads commits and trees with go-git: every change of the
// application from its first.
func (r *reading) byObjects() {
	page, err := r.ApplicationHistory(ctx, "app", dm.Page{Limit: dm.MaxPage})
	if err != nil || len(page.Changes) == 0 {
		r.fault("history: %d changes, %v", len(page.Changes), err)
		return
	}
	at := page.Changes[int(r.reads.Load())%len(page.Changes)].Revision
	work, err := r.WorkAt(ctx, "app", at)
	if err != nil || work.Desired != at || work.Spec.Package.String() != "flow-1.0.0" {
		r.fault("work at %s: %+v, %v", at, work.Spec, err)
		return
	}
	files, err := fs.Glob(work.Open, "jupyter/report/*.ipynb")
	if err != nil || len(files) != 1 {
		r.fault("files at %s: %q, %v", at, files, err)
		return
	}
	if text, err := fs.ReadFile(work.Open, files[0]); err != nil || !bytes.Contains(text, []byte("flows for ana")) {
		r.fault("%s at %s: %.80q, %v", files[0], at, text, err)
	}
}

// byClone clones the workspace, which every change of the application touches.
func (r *reading) byClone() {
	dir, err := os.MkdirTemp(r.t.TempDir(), "clone-*")
	if err != nil {
		r.fault("clone: %v", err)
		return
	}
	if _, _, err := r.Workspaces().Bring(ctx, "ana", reader("ana")); err != nil {
		r.fault("ask: %v", err)
		return
	}
	r.plainGit("users/ana.git", "clone", "-q", "--", "file://"+filepath.Join(r.dir, "users", "ana.git"), dir)
	if _, err := os.Stat(filepath.Join(dir, "README.ipynb")); err != nil {
		r.fault("clone: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		r.fault("clone: %v", err)
	}
}

// TestReadersSeeNoChangeHalfMade reads in five ways while versions are
// published, an application is started and stopped, and maintenance runs
// without a pause.
func TestReadersSeeNoChangeHalfMade(t *testing.T) {
	t.Parallel()
	r := &reading{house: open(t, t.TempDir()), tags: map[string]dm.Published{}}
	r.created("ana", "app", r.deployed("ana", "flow-1.0.0", "one"))
	kept := r.keptPacks()
	total := int64(5 * updates(t, 40)) // reads
	stop := r.maintained()
	var published, changed atomic.Int64
	more := func() bool {
		enough := r.reads.Load() >= total && published.Load() >= 6 && changed.Load() >= 6
		return !enough && !t.Failed()
	}

	var writers, readers sync.WaitGroup
	writers.Go(func() {
		for ; more() && published.Load() < 400; published.Add(1) {
			id := fmt.Sprintf("flow-1.1.%d", published.Load())
			content := notebook(id, id)
			p, err := r.Publish(ctx, as("ana"), file(t, id+".tar.gz"), bytes.NewReader(content), int64(len(content)))
			if err != nil {
				r.fault("publish: %v", err)
				return
			}
			r.mu.Lock()
			r.tags["refs/tags/"+p.File.Ref.Version.String()] = p
			r.mu.Unlock()
		}
	})
	writers.Go(func() {
		for ; more(); changed.Add(1) {
			change := r.Start
			if changed.Load()%2 == 1 {
				change = r.Stop
			}
			if err := change(ctx, as("ana"), "app"); err != nil {
				r.fault("change: %v", err)
				return
			}
			r.settle("app")
		}
	})
	for range 4 {
		readers.Go(func() {
			for more() { // one of each kind in turn, so that the fast ones don't make up the number
				for _, read := range []func(){r.byForEachRef, r.byUploadPack, r.byIndex, r.byObjects, r.byClone} {
					read()
					r.reads.Add(1)
				}
			}
		})
	}
	readers.Wait()
	writers.Wait()
	passes := stop()
	if passes < 2 {
		t.Errorf("%d passes of maintenance are too few to tell anything", passes)
	}
	t.Logf("%d reads, %d wrong, beside %d versions, %d changes and %d passes of maintenance", r.reads.Load(), r.wrong.Load(), published.Load(), changed.Load(), passes)
	r.sameKept(kept)
	r.sound()
}
