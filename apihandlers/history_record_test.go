package apihandlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// The past that fakeRecord tells: noon-run was created, changed and is being
// started; gone was destroyed.
const (
	firstRevision  = dm.Revision("0123456789abcdef0123456789abcdef01234567")
	secondRevision = dm.Revision("89abcdef0123456789abcdef0123456789abcdef")
	pushedRevision = dm.Revision("fedcba9876543210fedcba9876543210fedcba98")
)

var longAgo = time.Date(2025, 1, 6, 10, 20, 30, 123456000, time.UTC)

// ask keeps what was asked of the history.
func (f *fakeRecord) ask(text string, page dm.Page) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.page = text, page
}

func past() []dm.PastChange {
	ref, next := mustFile("flow-collector-2.9.11.tgz").Ref, mustFile("flow-collector-2.14.3.tgz").Ref
	return []dm.PastChange{
		{Revision: pushedRevision, Package: next, Stamp: dm.Stamp{Verb: dm.Start, User: "ana", Auth: "none", Via: "manager", Time: longAgo.Add(2 * time.Hour)}},
		{
			Revision: secondRevision, Package: next, Deployment: 2, Pushed: pushedRevision,
			Stamp: dm.Stamp{
				Verb: dm.Change, User: "bob", Impersonator: "console", Auth: "htpasswd", Via: "push", Reason: "the <topic> was renamed",
				Time: longAgo.Add(time.Hour), RequestID: "req-2",
			},
			Outcome: &dm.Outcome{Phase: dm.Created, Information: "no such topic", Time: longAgo.Add(time.Hour + time.Second)},
		},
		{
			Revision: firstRevision, Package: ref, Deployment: 1,
			Stamp:   dm.Stamp{Verb: dm.Create, User: "ana", Auth: "none", Via: "manager", Time: longAgo, RequestID: "req-1"},
			Outcome: &dm.Outcome{Phase: dm.Created, Succeeded: true, Time: longAgo.Add(time.Second)},
		},
	}
}

func (f *fakeRecord) ApplicationHistory(_ context.Context, app dm.ApplicationName, page dm.Page) (dm.ChangePage, error) {
	f.ask(string(app), page)
	switch {
	case f.fail != nil:
		return dm.ChangePage{}, f.fail
	case app != "noon-run" && app != "gone":
		return dm.ChangePage{}, dm.Errorf(dm.NotFound, "history", "no application %s, now or in the past", app)
	case app == "gone":
		return dm.ChangePage{Changes: past()[2:]}, nil
	case page.Before == secondRevision:
		return dm.ChangePage{Changes: past()[2:]}, nil
	}
	return dm.ChangePage{Changes: past(), Next: firstRevision}, nil
}

func (f *fakeRecord) PackageHistory(_ context.Context, name dm.PackageName, page dm.Page) (dm.ChangePage, error) {
	f.ask(string(name), page)
	if name != "flow-collector" {
		return dm.ChangePage{}, dm.Errorf(dm.NotFound, "history", "no package %s, now or in the past", name)
	}
	ref := mustFile("flow-collector-2.14.3.tgz").Ref
	return dm.ChangePage{Changes: []dm.PastChange{
		{
			Revision: secondRevision, Package: ref,
			Stamp:   dm.Stamp{Verb: dm.Deploy, User: "ana", Auth: "none", Via: "manager", Time: longAgo.Add(time.Minute)},
			Outcome: &dm.Outcome{Phase: dm.Deployed, Succeeded: true, Information: "Deployed flow-collector-2.14.3", Time: longAgo.Add(time.Minute)},
		},
		{Revision: firstRevision, Package: ref, Stamp: dm.Stamp{Verb: dm.Publish, User: "ana", Auth: "none", Via: "packages", Time: longAgo}},
	}}, nil
}

const patchText = "diff --git a/report b/report\n--- a/report\n+++ b/report\n@@ -1 +1 @@\n-flows\n+mine\n"

func writePatch(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, patchText)
	return err
}

func (f *fakeRecord) ApplicationDiff(_ context.Context, app dm.ApplicationName, from, to int) (dm.Difference, error) {
	f.ask(fmt.Sprintf("%s %d %d", app, from, to), dm.Page{})
	switch {
	case app == "torn":
		return dm.Difference{WritePatch: func(context.Context, io.Writer) error { return errors.New("planted /a/path") }}, nil
	case app == "odd":
		return dm.Difference{
			Overrides:  []dm.OverrideChange{{Type: "jupyter", Component: "re\nport", Key: "\U000e0001", From: json.RawMessage("\"\u009b1m\""), To: json.RawMessage(`2`)}},
			From:       dm.Side{Deployment: 1, Audience: []dm.Subject{"user:ana\u2028"}},
			WritePatch: writePatch,
		}, nil
	case app == "long":
		return dm.Difference{WritePatch: longPatch}, nil
	case app != "noon-run":
		return dm.Difference{}, dm.Errorf(dm.NotFound, "diff", "no application %s, now or in the past", app)
	case to > 2:
		return dm.Difference{}, dm.Errorf(dm.NotFound, "diff", "%s has no deployment %d", app, to).WithHint("its deployments are numbered 1 to 2")
	}
	old, now := mustFile("flow-collector-2.9.11.tgz").Ref, mustFile("flow-collector-2.14.3.tgz").Ref
	if from == to && from != 0 {
		same := dm.Side{Deployment: to, Revision: secondRevision, Package: now, Audience: []dm.Subject{"user:ana"}}
		return dm.Difference{From: same, To: same, WritePatch: func(context.Context, io.Writer) error { return nil }}, nil
	}
	return dm.Difference{
		From: dm.Side{Deployment: 1, Revision: firstRevision, Package: old, Audience: []dm.Subject{"user:ana"}},
		To:   dm.Side{Deployment: 2, Revision: secondRevision, Package: now, Audience: []dm.Subject{"group:class-7", "user:ana"}},
		Overrides: []dm.OverrideChange{
			{Type: "jupyter", Component: "report", Key: "limit", From: json.RawMessage(`7`)},
			{Type: "jupyter", Component: "report", Key: "size", To: json.RawMessage(`{"a":["<b>"]}`)},
			{Type: "jupyter", Component: "report", Key: "topic", From: json.RawMessage(`"flows"`), To: json.RawMessage(`null`)},
		},
		Files: []dm.FileChange{
			{Path: "components/jupyter/report/a", FromSize: -1, ToSize: 0},
			{Path: "components/jupyter/report/b", FromSize: 3, ToSize: -1},
			{Path: "components/jupyter/report/c", FromSize: 6, ToSize: 5, Executable: true},
		},
		FilesMore: 2, WritePatch: writePatch,
	}, nil
}

// longPatch breaks off behind more than fits in any buffer.
func longPatch(_ context.Context, w io.Writer) error {
	for range 200 {
		if _, err := w.Write(make([]byte, 1<<10)); err != nil {
			return err
		}
	}
	return errors.New("planted read error")
}

func (f *fakeRecord) PackageDiff(_ context.Context, name dm.PackageName, from, to dm.Version) (dm.Difference, error) {
	f.ask(fmt.Sprintf("%s %s %s", name, from, to), dm.Page{})
	if name != "flow-collector" || to.Major == 9 {
		return dm.Difference{}, dm.Errorf(dm.NotFound, "diff", "no published version %s of %s", to, name)
	}
	return dm.Difference{
		From:  dm.Side{Revision: firstRevision, Package: dm.PackageRef{Name: name, Version: from}},
		To:    dm.Side{Revision: secondRevision, Package: dm.PackageRef{Name: name, Version: to}},
		Files: []dm.FileChange{{Path: "jupyter/report/c", FromSize: 6, ToSize: 5}}, WritePatch: writePatch,
	}, nil
}

func (f *fakeRecord) At(_ context.Context, at time.Time, keep func(dm.ApplicationName, dm.UserName) bool) ([]dm.Then, error) {
	f.ask(at.Format(time.RFC3339Nano), dm.Page{})
	var list []dm.Then
	for _, t := range []dm.Then{
		{Application: "bobs", Owner: "bob", Phase: dm.Created, Deployment: 1},
		{Application: "noon-run", Owner: "ana", Phase: dm.Started, Deployment: 2},
	} {
		t.Package, t.Revision, t.Since = mustFile("flow-collector-2.14.3.tgz").Ref, secondRevision, longAgo
		if at.After(longAgo) && keep(t.Application, t.Owner) {
			list = append(list, t)
		}
	}
	return list, f.fail
}
