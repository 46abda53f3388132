package gitstore_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// writing is an engine whose jobs write which log of theirs was asked for.
type writing struct {
	*plugintest.FakeEngine
	asked atomic.Int32
}

func (e *writing) StreamLogs(_ context.Context, w io.Writer, _ dm.PluginRecord, component dm.ComponentName, _ int, _ bool) error {
	_, err := fmt.Fprintf(w, "%s %d\n", component, e.asked.Add(1))
	return err
}

// TestLogsOutliveWhatWroteThem, the server that kept them and changes of the state,
// and are not given to who creates an application of the same name.
func TestLogsOutliveWhatWroteThem(t *testing.T) {
	t.Parallel()
	dir, engine := t.TempDir(), &writing{FakeEngine: plugintest.NewFakeEngine("sparkStreaming")}
	begin := func() *house {
		h, dispatcher := buildWith(t, dir, engine)
		h.run(dispatcher)
		return h
	}
	h := begin()
	h.publish("ana", "flow-1.0.0.tar.gz", archivetest.Tgz(map[string]string{"flow-1.0.0/sparkStreaming/reader/job.txt": "read"}))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"))
	ref := dm.PackageRef{Name: "flow", Version: dm.Version{Major: 1}}
	kept := func() string {
		t.Helper()
		log, ok, err := h.KeptLog(ctx, "app", "sparkStreaming", "reader")
		check(t, err)
		if ok != (log.Text != nil) || ok && log.Time.IsZero() {
			t.Errorf("KeptLog = %+v, %v", log, ok)
		}
		return string(log.Text)
	}
	change := func(do func(context.Context, dm.Actor, dm.ApplicationName) error) {
		t.Helper()
		check(t, do(ctx, as("ana"), "app"))
		h.settle("app")
	}
	h.created("ana", "app", ref)
	if got := kept(); got != "" {
		t.Errorf("%q is kept of what has not run", got)
	}
	change(h.Start)
	change(h.Stop)
	if got := kept(); got != "reader 1\n" {
		t.Errorf("after a stop %q is kept", got)
	}
	file := h.git("applications/app.git", "ls-tree", "-r", "--name-only", "refs/observed/head")
	if !strings.HasPrefix(file, "logs/sparkStreaming/reader/") || !strings.HasSuffix(file, ".log\nobserved.json") {
		t.Errorf("the outcome has %q, want the log beside observed.json", file)
	}
	h.sound()
	h.stop()
	h = begin()
	if got := kept(); got != "reader 1\n" {
		t.Errorf("after a restart %q is kept", got)
	}
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Overrides: dm.Overrides{}}))
	h.settle("app")
	if got := kept(); got != "reader 1\n" {
		t.Errorf("after a change of what does not run %q is kept", got)
	}
	for range form.LogsOfOne {
		change(h.Start)
		change(h.Stop)
	}
	if n := strings.Count(h.git("applications/app.git", "ls-tree", "-r", "--name-only", "refs/observed/head"), ".log"); n != form.LogsOfOne {
		t.Errorf("%d are kept, want %d", n, form.LogsOfOne)
	}
	if got, want := kept(), fmt.Sprintf("reader %d\n", 1+form.LogsOfOne); got != want {
		t.Errorf("the newest is %q, want %q", got, want)
	}
	change(h.Start)
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	h.settle("app")
	if text := h.git("applications/app.git", "grep", "-h", fmt.Sprintf("reader %d", 2+form.LogsOfOne), "refs/observed/head", "--", "logs"); text == "" {
		t.Error("what ran until the destroy is not in its outcome")
	}
	h.created("bob", "app", ref)
	if got := kept(); got != "" {
		t.Errorf("bob's application has what ana's wrote: %q", got)
	}
	if file := h.git("applications/app.git", "ls-tree", "--name-only", "refs/observed/head"); file != "observed.json" {
		t.Errorf("its outcome has %q", file)
	}
	if _, ok, err := h.KeptLog(ctx, "none", "sparkStreaming", "reader"); ok || err != nil {
		t.Errorf("of no application: %v, %v", ok, err)
	}
	h.sound()
}
