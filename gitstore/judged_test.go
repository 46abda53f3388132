package gitstore_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

// TestUploadIsJudgedAsItsDeploy compares what an upload is told, and its
// history keeps, with what the deploy says.
func TestUploadIsJudgedAsItsDeploy(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	large := strings.Repeat("x", 300<<10)
	good := map[string]string{"jupyter/n/a.ipynb": `{"cells": []}`}
	for i, c := range []struct {
		name     string
		files    map[string]string
		findings []string
		notes    []string
	}{
		{"nothing wrong", good, nil, nil},
		{"everything at once", map[string]string{
			"jupyter/n/properties.json": `{"a": }`, "storm/t/x": "", "oozie/o/coordinator.xml": "", ".github/workflows/ci.yml": "", "jupyter/n/.DS_Store": "",
		}, []string{"jupyter/n/properties.json: parsing failed", "jupyter/n: missing ipynb file", "oozie/o: missing file workflow.xml", "storm: unknown component type"},
			[]string{"skipped, not content: .github/, jupyter/n/.DS_Store"}},
		{"notebooks that are none", map[string]string{"jupyter/n/a.ipynb": "", "jupyter/n/b.ipynb": `{"cells": [1` + strings.Repeat(",1", 1<<20) + "]", "jupyter/n/c.ipynb": `{"cells": []}`},
			nil, []string{"jupyter/n/a.ipynb is not a notebook: it is empty", "jupyter/n/b.ipynb is not a notebook: it is not JSON"}},
		{"large properties", map[string]string{"jupyter/n/a.ipynb": `{"cells": []}`, "jupyter/n/properties.json": `{"a": "` + large + `"}`}, nil, nil},
		{"AppleDouble", map[string]string{"jupyter/n/a.ipynb": `{"cells": []}`, "jupyter/n/._a.ipynb": "\x00\x05\x16\x07" + large}, nil,
			[]string{"skipped, not content: jupyter/n/._a.ipynb"}},
	} {
		id := fmt.Sprintf("flow-1.%d.0", i)
		packed := map[string]string{}
		for path, content := range c.files {
			packed[id+"/"+path] = content
		}
		content := archivetest.Tgz(packed)
		p := h.publish("ana", id+".tar.gz", content)
		wantTexts(t, c.name+": findings", p.Findings, c.findings)
		wantTexts(t, c.name+": notes", p.Notes, c.notes)
		if again := h.publish("ana", id+".tar.gz", content); !again.Already || !slices.Equal(again.Findings, p.Findings) {
			t.Errorf("%s: the same bytes again tell %q, want %q", c.name, again.Findings, p.Findings)
		}
		check(t, h.DeployPackage(ctx, as("ana"), id))
		st, err := h.PackageStatus(ctx, id)
		check(t, err)
		if (st.Phase == dm.Deployed) != (len(c.findings) == 0) {
			t.Errorf("%s: the deploy ends %s: %s", c.name, st.Phase, st.Information)
		}
	}
	for _, opened := range []string{"before", "after"} {
		page, err := h.PackageHistory(ctx, "flow", dm.Page{})
		check(t, err)
		told := 0
		for _, change := range page.Changes {
			if len(change.Findings) > 0 {
				told++
				if change.Verb != dm.Publish || change.Package.Version.Minor != 1 || len(change.Findings) != 4 {
					t.Errorf("%s of %s tells %q", change.Verb, change.Package, change.Findings)
				}
			}
		}
		if told != 1 {
			t.Errorf("%s a restart %d changes have findings, want 1", opened, told)
		}
		h.stop()
		h = open(t, h.dir)
	}
	h.sound()
}

func wantTexts(t *testing.T, about string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s = %q, want %q", about, got, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%s: %q, want it to begin with %q", about, got[i], want[i])
		}
	}
}

// TestFindingsOfAnUploadAreFew bounds what a header and a trailer must hold.
func TestFindingsOfAnUploadAreFew(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	files := map[string]string{}
	for i := range 500 {
		files[fmt.Sprintf("flow-1.0.0/jupyter/%03d%s/x", i, strings.Repeat("é", 80))] = ""
	}
	p := h.publish("ana", "flow-1.0.0.tar.gz", archivetest.Tgz(files))
	if n := len(strings.Join(p.Findings, "")); n > 4<<10 || len(p.Findings) > 21 || len(p.Findings) < 2 {
		t.Errorf("%d findings with %d bytes", len(p.Findings), n)
	}
	if last, want := p.Findings[len(p.Findings)-1], fmt.Sprintf("and %d more", 500-len(p.Findings)+1); last != want {
		t.Errorf("the last is %q, want %q", last, want)
	}
	message := h.git("packages/flow.git", "log", "-1", "--format=%(trailers:key=DM-Findings)", "1.0.0")
	if strings.Count(message, "\n") > 2 || !bytes.HasPrefix([]byte(message), []byte(`DM-Findings: ["jupyter/000`)) {
		t.Errorf("trailer = %q, want one line", message)
	}
}
