package apihandlers_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// fakeRecord holds canned states in place of the record, whose own tests and
// the scripts on the real binary judge behaviour. Here it only shows what
// handlers ask and how they encode.
type fakeRecord struct {
	policy dm.Policy
	fail   error // what every method that can fail answers, when set

	mu       sync.Mutex
	uploaded []byte
	actor    dm.Actor
	spec     dm.Spec
	edit     dm.Edit
	cleared  bool
	to       int // of a rollback
	page     dm.Page
	asked    string // of the history
	calls    int    // of changes
	told     []dm.Event
	more     chan struct{} // closed when there is another event; nil while nobody waits
}

var (
	_ dm.PackageStore     = (*fakeRecord)(nil)
	_ dm.DeployedStore    = (*fakeRecord)(nil)
	_ dm.ApplicationStore = (*fakeRecord)(nil)
	_ dm.History          = (*fakeRecord)(nil)
	_ dm.Owners           = (*fakeRecord)(nil)
	_ dm.Events           = (*fakeRecord)(nil)
	_ dm.Deliveries       = (*fakeRecord)(nil)
)

const archiveBytes = "these are the bytes of an archive"

func mustFile(name string) dm.PackageFile {
	f, err := dm.ParsePackageFile(name)
	if err != nil {
		panic(err)
	}
	return f
}

func (f *fakeRecord) changed(actor dm.Actor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.actor = actor
	f.calls++
}

func (f *fakeRecord) changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fakeRecord) ListPackages(recency int) []dm.PackageListing {
	list := []dm.PackageListing{
		{Name: "flow-collector", Versions: []dm.PackageFile{mustFile("flow-collector-2.14.3.tar.gz"), mustFile("flow-collector-2.9.11.tgz")}},
		{Name: "word-maps", Versions: []dm.PackageFile{mustFile("word-maps-0.1.0.tgz")}},
	}
	for i := range list {
		if recency > 0 && recency < len(list[i].Versions) {
			list[i].Versions = list[i].Versions[:recency]
		}
	}
	return list
}

func (f *fakeRecord) Publish(_ context.Context, actor dm.Actor, file dm.PackageFile, body io.Reader, _ int64) (dm.Published, error) {
	f.changed(actor)
	if f.fail != nil {
		return dm.Published{}, f.fail
	}
	if file.Ref.Version.Major == 9 {
		return dm.Published{}, dm.Errorf(dm.Conflict, "publish", "%s is there with other bytes", file.Ref).WithHint("publish a new version")
	}
	data, err := io.ReadAll(body)
	if err != nil { // as a reader of archives sees it
		return dm.Published{}, dm.Errorf(dm.Invalid, "publish", "the archive is cut off").Because(err)
	}
	if bytes.HasPrefix(data, []byte("bad")) {
		return dm.Published{}, dm.Refuse("publish", "the archive is refused", []dm.Finding{{Path: "a/../b", Message: "climbs"}})
	}
	f.mu.Lock()
	f.uploaded = data
	f.mu.Unlock()
	sum := sha256.Sum256(data)
	published := dm.Published{File: file, Digest: hex.EncodeToString(sum[:])}
	if told, ok := strings.CutPrefix(string(data), "faulty "); ok {
		published.Findings, published.Notes = strings.Split(told, "|"), []string{"odd"}
	}
	return published, nil
}

func (f *fakeRecord) Withdraw(_ context.Context, actor dm.Actor, file dm.PackageFile) error {
	f.changed(actor)
	if file.String() != "flow-collector-2.14.3.tar.gz" {
		return dm.Errorf(dm.NotFound, "withdraw", "no package file %s", file)
	}
	return f.fail
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// damaged is an archive whose second half cannot be read.
type damaged struct{ *bytes.Reader }

func (d damaged) Read(p []byte) (int, error) {
	if d.Len() <= 1<<19 {
		return 0, errors.New("planted read error")
	}
	return d.Reader.Read(p[:min(len(p), d.Len()-1<<19)])
}

func (damaged) Close() error { return nil }

func (f *fakeRecord) OpenArchive(_ context.Context, file dm.PackageFile) (dm.Archive, error) {
	if f.fail != nil {
		return dm.Archive{}, f.fail
	}
	if file.String() == "damaged-1.0.0.tgz" {
		return dm.Archive{File: file, Size: 1 << 20, Digest: "d", ReadSeekCloser: damaged{bytes.NewReader(make([]byte, 1<<20))}}, nil
	}
	if file.String() != "flow-collector-2.14.3.tar.gz" {
		return dm.Archive{}, dm.Errorf(dm.NotFound, "open archive", "no package file %s", file)
	}
	sum := sha256.Sum256([]byte(archiveBytes))
	return dm.Archive{
		File: file, Size: int64(len(archiveBytes)), Digest: hex.EncodeToString(sum[:]),
		ReadSeekCloser: nopCloser{bytes.NewReader([]byte(archiveBytes))},
	}, nil
}

func (f *fakeRecord) PackageStatus(_ context.Context, id string) (dm.PackageStatus, error) {
	name, version := dm.SplitPackageID(id)
	p := dm.PackageStatus{Name: name, Version: version, Phase: dm.NotDeployed}
	switch id {
	case "broken-1.0.0":
		return p, dm.Errorf(dm.Unavailable, "package status", "the package's repository is damaged").Because(io.ErrUnexpectedEOF)
	case "flow-collector-2.14.3":
		p.Phase, p.Owner, p.Defaults = dm.Deployed, "ana", flowDefaults()
		p.Information = "Deployed flow-collector-2.14.3 at 2025-01-06T10:20:30.123456"
	case "word-maps-0.1.0":
		p.Phase, p.Owner = dm.Undeploying, "ana"
	case "absent-1.0.0":
		p.Information = `Error deploying absent-1.0.0 NotFound, details: "absent-1.0.0 NotFound"`
	}
	return p, f.fail
}

func flowDefaults() dm.Defaults {
	return dm.Defaults{
		"jupyter": {"report": {"topic": json.RawMessage(`"flows"`)}},
		"oozie":   {"nightly": {}},
	}
}

func (f *fakeRecord) DeployPackage(ctx context.Context, actor dm.Actor, id string) error {
	f.changed(actor)
	p, err := f.PackageStatus(ctx, id)
	if err != nil {
		return err
	}
	if p.Phase != dm.NotDeployed {
		return dm.Errorf(dm.Conflict, "deploy", "the package %s is %s", id, p.Phase).In(p.Phase)
	}
	return f.policy.Authorize(actor, dm.PackageDeploy, dm.Resource{Name: id})
}

func (f *fakeRecord) UndeployPackage(ctx context.Context, actor dm.Actor, id string) error {
	f.changed(actor)
	p, err := f.PackageStatus(ctx, id)
	switch {
	case err != nil:
		return err
	case p.Phase == dm.NotDeployed:
		return dm.Errorf(dm.NotFound, "undeploy", "the package %s is not deployed", id).In(p.Phase)
	case p.Phase != dm.Deployed:
		return dm.Errorf(dm.Conflict, "undeploy", "the package %s is %s", id, p.Phase).In(p.Phase)
	}
	return f.policy.Authorize(actor, dm.PackageUndeploy, dm.Resource{Name: id, Owner: p.Owner})
}

func (f *fakeRecord) DeployedPackages() []string {
	if f.fail != nil {
		return nil
	}
	return []string{"flow-collector-2.14.3", "word-maps-0.1.0"}
}

func (f *fakeRecord) PackageApplications(id string) []dm.ApplicationName {
	if id == "flow-collector-2.14.3" {
		return []dm.ApplicationName{"noon-run", "test-1"}
	}
	return nil
}

// application returns the canned applications: noon-run runs, test-1 is
// stopped, busy is being created, failed could not be created.
func application(name dm.ApplicationName) (dm.Application, bool) {
	const desired = dm.Revision("0123456789abcdef0123456789abcdef01234567")
	at := time.Date(2025, 1, 6, 10, 20, 30, 123456000, time.UTC)
	a := dm.Application{
		Spec: dm.Spec{
			Name: name, Package: mustFile("flow-collector-2.14.3.tgz").Ref, Owner: "ana", State: dm.WantCreated,
			Overrides: dm.Overrides{"jupyter": {"report": {"topic": json.RawMessage(`"mine"`)}}},
			Audience:  []dm.Subject{"user:ana"},
		},
		Defaults: flowDefaults(), Deployment: 1, Desired: desired,
		Last:     dm.Stamp{Verb: dm.Create, User: "ana", Auth: "htpasswd", Via: "manager", Time: at, RequestID: "req-1"},
		Observed: &dm.Observation{Desired: desired, Effective: desired, Phase: dm.Created, Time: at},
	}
	switch name {
	case "noon-run":
		a.Phase, a.Spec.State, a.Observed.Phase = dm.Started, dm.WantStarted, dm.Started
		a.Observed.Records = []dm.PluginRecord{{Type: "jupyter", Components: []dm.ComponentRecord{{
			Name: "report", JobName: "noon-run-report-job", Files: 3, Information: "3 files, delivered, fetched by 1 user", Data: json.RawMessage(`{"private":1}`),
		}}}}
	case "jobs":
		a.Phase, a.Spec.State, a.Observed.Phase, a.Spec.Team = dm.Started, dm.WantStarted, dm.Started, "class-7"
		a.Observed.Records = []dm.PluginRecord{{Type: "flink", Components: []dm.ComponentRecord{{Name: "count"}}}, {Type: "sparkStreaming", Components: []dm.ComponentRecord{
			{Name: "count", JobName: "jobs-count-job", Files: 3, State: "RUNNING", Information: "2 executors", Drift: []dm.Drift{
				{Object: "sparkapplications/jobs-count-1f2e3d4c5b", Field: ".spec.suspend", Wanted: "false", Live: "true", By: "kubectl"},
			}},
			{Name: "done", JobName: "jobs-done-job", Files: 3, State: "COMPLETED"}, {Name: "away", JobName: "jobs-away-job"}, {Name: "never", JobName: "jobs-never-job"},
		}}}
	case "job":
		a.Phase = dm.Created
		a.Observed.Records = []dm.PluginRecord{{Type: "jupyter", Components: []dm.ComponentRecord{{Name: "report"}}}, {Type: "sparkStreaming", Components: []dm.ComponentRecord{{Name: "count"}}}}
	case "test-1":
		a.Phase = dm.Created
	case "busy":
		a.Phase, a.Observed = dm.Creating, nil
	case "told":
		a.Phase, a.Last.Reason, a.Last.Impersonator = dm.Created, "why <not>", "console"
	case "nulls":
		a.Phase = dm.Created
		a.Defaults = dm.Defaults{"jupyter": {"report": {"topic": json.RawMessage("null"), "n": json.RawMessage("1.50"), "list": json.RawMessage(`[null,{"a":null,"b":"null <1>"}]`), "none": nil}, "bare": nil}, "spark": nil}
		a.Spec.Overrides = dm.Overrides{"jupyter": {"report": {"topic": json.RawMessage("null"), "id": json.RawMessage(`[9007199254740993,null]`)}}, "flink": {"job": nil}}
	case "failed":
		a.Phase, a.Observed.Phase = dm.NotCreated, dm.NotCreated
		a.Information = `Error creating failed Invalid, details: "no such topic"`
	default:
		return dm.Application{}, false
	}
	return a, true
}

func (f *fakeRecord) Application(_ context.Context, app dm.ApplicationName) (dm.Application, bool, error) {
	if app == "broken" {
		return dm.Application{}, false, dm.Errorf(dm.Unavailable, "application", "the application's repository is damaged")
	}
	a, ok := application(app)
	return a, ok, f.fail
}

func (f *fakeRecord) Applications() []dm.ApplicationName {
	if f.fail != nil {
		return nil
	}
	return []dm.ApplicationName{"noon-run", "test-1"}
}

func (f *fakeRecord) Create(_ context.Context, actor dm.Actor, spec dm.Spec) error {
	f.changed(actor)
	f.mu.Lock()
	f.spec = spec
	f.mu.Unlock()
	if a, ok := application(spec.Name); ok && a.Phase != dm.NotCreated {
		return dm.Errorf(dm.Conflict, "create", "the application %s is %s", spec.Name, a.Phase).In(a.Phase)
	}
	if spec.Package.String() != "flow-collector-2.14.3" {
		return dm.Errorf(dm.NotFound, "create", "the package %s is not deployed", spec.Package).In(dm.NotDeployed)
	}
	return f.policy.Authorize(actor, dm.ApplicationCreate, dm.Resource{Name: string(spec.Name)})
}

// control makes one change that is legal in the phases allowed.
func (f *fakeRecord) control(actor dm.Actor, app dm.ApplicationName, action dm.Action, allowed ...dm.Phase) error {
	f.changed(actor)
	a, ok := application(app)
	switch {
	case !ok || a.Phase == dm.NotCreated && !slices.Contains(allowed, dm.NotCreated):
		return dm.Errorf(dm.NotFound, "control", "no application %s", app).In(dm.NotCreated)
	case !slices.Contains(allowed, a.Phase):
		return dm.Errorf(dm.Conflict, "control", "the application %s is %s", app, a.Phase).In(a.Phase)
	}
	return f.policy.Authorize(actor, action, dm.Resource{Name: string(app), Owner: a.Spec.Owner})
}

func (f *fakeRecord) Change(_ context.Context, actor dm.Actor, app dm.ApplicationName, edit dm.Edit) error {
	f.mu.Lock()
	f.edit = edit
	f.mu.Unlock()
	return f.control(actor, app, dm.ApplicationChange, dm.Created, dm.Started)
}

func (f *fakeRecord) Start(_ context.Context, actor dm.Actor, app dm.ApplicationName) error {
	return f.control(actor, app, dm.ApplicationStart, dm.Created)
}

func (f *fakeRecord) Stop(_ context.Context, actor dm.Actor, app dm.ApplicationName) error {
	return f.control(actor, app, dm.ApplicationStop, dm.Started)
}

func (f *fakeRecord) Destroy(_ context.Context, actor dm.Actor, app dm.ApplicationName, clear bool) error {
	f.mu.Lock()
	f.cleared = clear
	f.mu.Unlock()
	allowed := []dm.Phase{dm.Created, dm.Started}
	if clear {
		allowed = append(allowed, dm.NotCreated)
	}
	return f.control(actor, app, dm.ApplicationDestroy, allowed...)
}

func (f *fakeRecord) Rollback(_ context.Context, actor dm.Actor, app dm.ApplicationName, to int) error {
	f.mu.Lock()
	f.to = to
	f.mu.Unlock()
	if err := f.control(actor, app, dm.ApplicationRollback, dm.Created, dm.Started); err != nil {
		return err
	}
	if to > 2 {
		return dm.Errorf(dm.Invalid, "rollback", "%s has no deployment %d", app, to).WithHint("its deployments are numbered 1 to 2")
	}
	return nil
}

func (f *fakeRecord) PackageOwner(name dm.PackageName) dm.UserName {
	if name == "flow-collector" {
		return "ana"
	}
	return ""
}

func (f *fakeRecord) ApplicationOwner(_ context.Context, app dm.ApplicationName) (dm.Resource, int, error) {
	on := dm.Resource{Name: string(app), Owner: "ana", Audience: []dm.Subject{"user:ana"}}
	switch app {
	case "broken":
		return dm.Resource{}, 0, dm.Errorf(dm.Unavailable, "owner", "the application's repository is damaged")
	case "never", "other", "fresh":
		return dm.Resource{}, 0, dm.Errorf(dm.NotFound, "owner", "no application %s, now or in the past", app)
	}
	return on, 1, nil
}
