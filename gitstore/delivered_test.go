package gitstore_test

import (
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// rows is a file that the tests' packages deliver.
var rows = dm.DeliveredFile{Application: "noon", Type: "jupyter", Component: "report", Path: "data/rows.csv"}

// given reads a file as pods are given it.
func (h *house) given(f dm.DeliveredFile, coming bool) (string, error) {
	in, size, err := h.OpenDelivered(ctx, f, coming)
	if err != nil {
		return "", err
	}
	defer in.Close()
	content, err := io.ReadAll(in)
	if err == nil && int64(len(content)) != size {
		h.t.Errorf("%s has %d bytes, told are %d", f.Path, len(content), size)
	}
	return string(content), err
}

// gives checks what of a file is in effect and what is coming, "" for nothing. One
// that is given holds its text.
func (h *house) gives(f dm.DeliveredFile, effective, coming string) {
	h.t.Helper()
	for _, c := range []struct {
		coming bool
		want   string
	}{{false, effective}, {true, coming}} {
		got, err := h.given(f, c.coming)
		if c.want == "" {
			wantKind(h.t, err, dm.NotFound, "delivers no such file")
		} else if check(h.t, err); !strings.Contains(got, c.want) {
			h.t.Errorf("%s, coming %t: %.200q, want it to hold %q", f.Path, c.coming, got, c.want)
		}
	}
}

// TestDeliveredIsOfTheDeployment follows a file through the life of an application.
func TestDeliveredIsOfTheDeployment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	report := rows
	report.Path = "report.ipynb"
	v1, v2 := h.deployed("ana", "flow-1.0.0", "first text"), h.deployed("ana", "flow-1.1.0", "second text")
	h.gives(report, "", "")
	end := h.short()
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "noon", Package: v1}))
	h.waiting("noon")
	h.gives(report, "", "first text")
	end()
	h.settle("noon")
	h.gives(report, "first text", "")
	check(t, h.Start(ctx, as("ana"), "noon"))
	h.settle("noon")
	h.gives(report, "first text", "")
	end = h.short()
	check(t, h.Change(ctx, as("ana"), "noon", dm.Edit{Package: &v2}))
	h.waiting("noon")
	h.gives(report, "first text", "second text")
	end()
	h.settle("noon")
	h.gives(report, "second text", "")
	h.stop()
	h = open(t, dir)
	h.gives(report, "second text", "")
	check(t, h.Stop(ctx, as("ana"), "noon"))
	h.settle("noon")
	h.gives(report, "second text", "")
	check(t, h.Rollback(ctx, as("ana"), "noon", 1))
	h.settle("noon")
	h.gives(report, "first text", "")
	check(t, h.Destroy(ctx, as("ana"), "noon", false))
	h.settle("noon")
	h.gives(report, "", "")
	h.created("ben", "noon", v2)
	h.gives(report, "second text", "")
}

// TestDeliveredIsOneFile of what is delivered, and of nothing else that is recorded.
func TestDeliveredIsOneFile(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "noon", ref)
	h.gives(rows, "a,b\r\n1,$5", "")
	filled := rows
	filled.Filled = true
	h.gives(filled, "a,b\r\n1,$5", "") // who asks fills
	type file = dm.DeliveredFile
	for _, none := range []file{
		{}, {Application: "noon"}, {Application: "noon", Type: "jupyter", Component: "report"},
		{Application: "other", Type: "jupyter", Component: "report", Path: "data/rows.csv"},
		{Application: "../noon", Type: "jupyter", Component: "report", Path: "data/rows.csv"},
		{Application: "noon", Type: "flink", Component: "report", Path: "data/rows.csv"},
		{Application: "noon", Type: "jupyter", Component: "other", Path: "data/rows.csv"},
		{Application: "noon", Type: "jupyter", Component: "report", Path: "data"},
		{Application: "noon", Type: "jupyter", Component: "report", Path: "data/rows.csv/x"},
		{Application: "noon", Type: "jupyter", Component: "report", Path: "/data/rows.csv"},
		{Application: "noon", Type: "jupyter", Component: "report", Path: "data//rows.csv"},
		{Application: "noon", Type: "jupyter", Component: "report", Path: "../report/data/rows.csv"},
		{Application: "noon", Type: "jupyter", Component: "report", Path: "../../../application.json"},
		{Application: "noon", Type: "..", Component: "..", Path: "application.json"},
		{Application: "noon", Type: "..", Component: ".", Path: "application.json"},
		{Application: "noon", Type: "..", Component: "package", Path: "jupyter/report/properties.json"},
	} {
		_, err := h.given(none, false)
		if dm.KindOf(err) != dm.NotFound {
			t.Errorf("%+v: error = %v, want kind not found", none, err)
		}
	}
}

// TestDeliveredIsNotLost: what can't be read is not taken for what is not there.
func TestDeliveredIsNotLost(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "noon", h.deployed("ana", "flow-1.0.0", "one"))
	app := filepath.Join(h.dir, "applications", "noon.git")
	flip(t, app, git(t, app, "rev-parse", "main:components/jupyter/report/data/rows.csv"))
	_, err := h.given(rows, false)
	wantKind(t, err, dm.Unavailable, "")
}

// TestDeliveredWhileItChanges: each reader gets one deployment's file whole.
func TestDeliveredWhileItChanges(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	report := rows
	report.Path = "report.ipynb"
	v1, v2 := h.deployed("ana", "flow-1.0.0", "first text"), h.deployed("ana", "flow-1.1.0", "second text")
	h.created("ana", "noon", v1)
	done := make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(done)
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := h.given(report, false)
				if err != nil || strings.Contains(got, "first text") == strings.Contains(got, "second text") {
					t.Errorf("%v, %.200q, want one of both", err, got)
					return
				}
			}
		})
	}
	for _, ref := range []dm.PackageRef{v2, v1, v2} {
		check(t, h.Change(ctx, as("ana"), "noon", dm.Edit{Package: &ref}))
		h.settle("noon")
		check(t, h.MaintainAll(ctx))
	}
}
