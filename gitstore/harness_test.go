package gitstore_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/hooks"
	"github.com/pndaproject/deployment-manager/hooks/dispatch"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/flink"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
	"github.com/pndaproject/deployment-manager/plugins/oozie"
	"github.com/pndaproject/deployment-manager/plugins/spark"
)

// house is a store with the real planner, plugins, admission and dispatcher
// around it, as the server wires them.
type house struct {
	*gitstore.Store
	t     testing.TB
	dir   string
	begun uint64 // number of the newest event when it was opened
	stop  func()

	notebooks *scarce
}

// told returns what is told of the events after a number.
func (h *house) told(after uint64) (list []dm.Event) {
	h.t.Helper()
	for {
		some, err := h.ToldNow(ctx, after, 5)
		check(h.t, err)
		if len(some) == 0 {
			return list
		}
		list = append(list, some...)
		after = some[len(some)-1].Seq
	}
}

// states returns the states that id went through since the house was opened, as
// PNDA's receivers are told them.
func (h *house) states(id string) (list []dm.Phase) {
	h.t.Helper()
	for _, e := range h.told(h.begun) {
		if e.ID != id || e.Again {
			continue
		}
		if before := e.Before(); before != "" {
			list = append(list, before)
		}
		list = append(list, e.State)
	}
	return list
}

// everyName is a directory that knows everybody and two groups.
type everyName struct{}

func (everyName) Known(dm.UserName) bool { return true }
func (everyName) Groups(u dm.UserName) []string {
	return map[dm.UserName][]string{"root": {dm.AdminGroup}, "teacher": {dm.PublisherGroup}}[u]
}
func (everyName) Members(group string) []dm.UserName {
	return map[string][]dm.UserName{"class": {"ana", "bob"}}[group]
}

type option func(*gitstore.Config)

func replacing(c *gitstore.Config) { c.Replace = true }

// open opens a house over dir; the test closes it, or the clean-up does.
func open(t testing.TB, dir string, options ...option) *house {
	t.Helper()
	h, dispatcher := build(t, dir, options...)
	h.run(dispatcher)
	return h
}

// run lets the dispatcher work until the house is closed.
func (h *house) run(dispatcher *dispatch.Dispatcher) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- dispatcher.Run(ctx) }()
	h.closeWith(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("dispatcher: %v", err)
		}
	})
}

// openStill opens a house in which nothing is carried out.
func openStill(t testing.TB, dir string) *house {
	t.Helper()
	h, _ := build(t, dir)
	h.closeWith(func() {})
	return h
}

// closeWith sets how the house is closed: workers first, then the store.
func (h *house) closeWith(endWorkers func()) {
	h.stop = sync.OnceFunc(func() {
		endWorkers()
		if err := h.Close(); err != nil {
			h.t.Errorf("close: %v", err)
		}
	})
	h.t.Cleanup(h.stop)
}

// build wires a house.
func build(t testing.TB, dir string, options ...option) (*house, *dispatch.Dispatcher) {
	t.Helper()
	return buildWith(t, dir, spark.WithoutCluster(), options...)
}

// buildWith wires a house in which engine carries out what spark components ask
// for.
func buildWith(t testing.TB, dir string, engine dm.Plugin, options ...option) (*house, *dispatch.Dispatcher) {
	t.Helper()
	h := &house{t: t, dir: dir, notebooks: &scarce{Plugin: jupyter.New(nil)}}
	registry, err := plugins.New(h.notebooks, engine, flink.New(), oozie.New(oozie.Config{SparkVersion: "2"}))
	check(t, err)
	planner, err := plugins.NewPlanner(plugins.Config{Registry: registry, Environment: map[string]string{"kafka_brokers": "kafka:9092"}})
	check(t, err)
	admission, err := hooks.NewAdmission(hooks.AdmissionConfig{Policy: dm.NewPolicy(dm.InsecurePNDA, dm.PublishByMode), Planner: planner, Directory: everyName{}})
	check(t, err)
	var dispatcher *dispatch.Dispatcher
	cfg := gitstore.Config{
		// A git of another test, between its fork and its exec, holds our lock.
		Dir: dir, LockWait: 10 * time.Second, Planner: planner, Admission: admission, Readme: jupyter.Readme(),
		Wake: func(a dm.ApplicationName) { dispatcher.Wake(a) },
	}
	for _, o := range options {
		o(&cfg)
	}
	h.Store, err = gitstore.Open(t.Context(), cfg)
	check(t, err)
	h.begun = h.Newest()
	dispatcher, err = dispatch.New(dispatch.Config{
		Record: h.Store, Plugins: registry.Get, Types: registry.Types(), Retry: dispatch.Retry{Base: 10 * time.Millisecond}, LogTail: 1 << 10,
	})
	check(t, err)
	return h, dispatcher
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantKind fails unless err has the kind and the text.
func wantKind(t testing.TB, err error, kind dm.Kind, text string) {
	t.Helper()
	if dm.KindOf(err) != kind || !strings.Contains(dm.Public(err), text) {
		t.Fatalf("got %q error %q (%v), want %q with %q", dm.KindOf(err), dm.Public(err), err, kind, text)
	}
}

var ctx = context.Background()

// as is a user who came through the test's door.
func as(user dm.UserName) dm.Actor {
	return dm.Actor{User: user, Groups: everyName{}.Groups(user), Auth: "test", Via: "test"}
}

func file(t testing.TB, name string) dm.PackageFile {
	t.Helper()
	f, err := dm.ParsePackageFile(name)
	check(t, err)
	return f
}

// notebook is a package with one jupyter component whose notebook names topic.
func notebook(id, text string) []byte {
	return archivetest.Tgz(map[string]string{
		id + "/jupyter/report/report.ipynb":    `{"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":["` + text + ` ${component_topic} for ${application_user}"]}],"metadata":{},"nbformat":4,"nbformat_minor":5}`,
		id + "/jupyter/report/data/rows.csv":   "a,b\r\n1,$5\r\n",
		id + "/jupyter/report/properties.json": `{"topic": "flows", "limit": 3}`,
	})
}

func (h *house) publish(user dm.UserName, name string, content []byte) dm.Published {
	h.t.Helper()
	p, err := h.Publish(ctx, as(user), file(h.t, name), bytes.NewReader(content), int64(len(content)))
	check(h.t, err)
	return p
}

// deployed publishes and deploys a notebook package.
func (h *house) deployed(user dm.UserName, id, text string) dm.PackageRef {
	h.t.Helper()
	h.publish(user, id+".tar.gz", notebook(id, text))
	check(h.t, h.DeployPackage(ctx, as(user), id))
	st, err := h.PackageStatus(ctx, id)
	check(h.t, err)
	if st.Phase != dm.Deployed {
		h.t.Fatalf("%s is %s: %s", id, st.Phase, st.Information)
	}
	ref, err := dm.ParsePackageRef(id)
	check(h.t, err)
	return ref
}

// settle waits until the application has no change under way.
func (h *house) settle(app dm.ApplicationName) dm.Application {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		view, ok, err := h.Application(ctx, app)
		check(h.t, err)
		if !ok || !view.Phase.Working() {
			return view
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s is still %s", app, view.Phase)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// created creates an application, waits for it, and has its owner ask for it.
func (h *house) created(user dm.UserName, app dm.ApplicationName, ref dm.PackageRef) dm.Application {
	h.t.Helper()
	check(h.t, h.Create(ctx, as(user), dm.Spec{Name: app, Package: ref}))
	view := h.settle(app)
	if view.Phase != dm.Created {
		h.t.Fatalf("%s is %s: %s", app, view.Phase, view.Information)
	}
	h.asks(user)
	return view
}

// asks has a user ask for their workspace, as who has signed in, and returns the
// directory that answers.
func (h *house) asks(u dm.UserName) string {
	h.t.Helper()
	dir, _, err := h.Workspaces().Bring(ctx, u, reader(u))
	check(h.t, err)
	return dir
}

// reader is a user who has signed in.
func reader(u dm.UserName) dm.Reader {
	r := dm.Reader{Groups: everyName{}.Groups(u), Proved: true, Known: true}
	for _, group := range []string{"class"} {
		if slices.Contains(everyName{}.Members(group), u) {
			r.Groups = append(r.Groups, group)
		}
	}
	return r
}

// git runs the real git client on a repository of the record. Who looks into a
// workspace is its user, who asks for it.
func (h *house) git(repository string, args ...string) string {
	h.t.Helper()
	if name, ok := strings.CutPrefix(repository, "users/"); ok {
		if user, ok := repo.DecodeName(strings.TrimSuffix(name, ".git")); ok {
			return git(h.t, h.asks(dm.UserName(user)), args...)
		}
	}
	return git(h.t, filepath.Join(h.dir, repository), args...)
}

// isolated is an environment in which git finds nobody's settings, and more.
func isolated(home string, more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C"}, more...)
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", dir}, args...)...)
	cmd.Env = isolated(t.TempDir())
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// sound fails for every fault that Verify finds.
func (h *house) sound() {
	h.t.Helper()
	var faults []string
	check(h.t, h.Verify(ctx, func(p string) { faults = append(faults, p) }))
	if len(faults) > 0 {
		h.t.Errorf("verify found:\n%s", strings.Join(faults, "\n"))
	}
}

// snapshot lists every ref, pack and temporary file of the data folder.
func (h *house) snapshot() string {
	h.t.Helper()
	var lines []string
	check(h.t, filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(h.dir, path)
		if !d.IsDir() && strings.Contains(rel, "/refs/") {
			b, err := os.ReadFile(path)
			rel += " " + string(b)
			if err != nil {
				return err
			}
		}
		lines = append(lines, rel)
		return nil
	}))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func refsOf(t testing.TB, dir string) string {
	t.Helper()
	return git(t, dir, "for-each-ref", "--format=%(refname)")
}
