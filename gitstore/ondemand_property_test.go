package gitstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// TestWhoAsksHowOften plays random histories. Whether a user asks after every change, at
// some moments, or when everything is over, and whether their workspace was lost in
// between: they get the same commits, and what is in effect.
func TestWhoAsksHowOften(t *testing.T) {
	t.Parallel()
	seed, rounds := rand.Uint64(), uint64(12)
	for name, value := range map[string]*uint64{"DM_TEST_SEED": &seed, "DM_TEST_ROUNDS": &rounds} {
		if text := os.Getenv(name); text != "" {
			var err error
			*value, err = strconv.ParseUint(text, 10, 64)
			check(t, err)
		}
	}
	for i := range rounds {
		// One that failed is played alone with its seed and DM_TEST_ROUNDS=1.
		t.Run(fmt.Sprint("DM_TEST_SEED=", seed+i), func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, seed+i)
			p.all()
			p.again()
		})
	}
}

// staged is an application as a history has it.
type staged struct {
	id, topic string // of the package, and what fills the notebook
	audience  []dm.Subject
}

// reaches tells whether a user gets it, in the words of this test.
func (s *staged) reaches(u dm.UserName) bool {
	class := u == "ana" || u == "bob"
	return slices.ContainsFunc(s.audience, func(to dm.Subject) bool {
		return to == dm.Everyone || string(to) == "user:"+string(u) || class && to == "group:class"
	})
}

// notebook is the file that its receivers get.
func (s *staged) notebook() string {
	return `{"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":["` + s.id + ` ` + s.topic + ` for teacher"]}],"metadata":{},"nbformat":4,"nbformat_minor":5}`
}

// play is one history and those who ask while it is played.
type play struct {
	*house
	random *rand.Rand
	refs   []dm.PackageRef // the last one is unfit
	apps   map[dm.ApplicationName]*staged
	first  map[dm.UserName]int // the change from which on somebody asks
	mains  map[dm.UserName][]string
	begun  string   // folder of the workspaces as they were when they began
	dead   []string // data folders of servers that died, oldest first
	told   []string // what happened
}

var players = []dm.UserName{"ana", "ben", "bob", "cyd", "teacher"}

const changes = 12 // of a history

func newPlay(t *testing.T, seed uint64) *play {
	p := &play{
		house: open(t, t.TempDir()), random: rand.New(rand.NewPCG(seed, 0)), apps: map[dm.ApplicationName]*staged{},
		first: map[dm.UserName]int{}, mains: map[dm.UserName][]string{}, begun: t.TempDir(),
	}
	for _, id := range []string{"flow-1.0.0", "flow-1.1.0", "word-1.0.0"} {
		p.refs = append(p.refs, p.deployed("teacher", id, id))
	}
	p.refs = append(p.refs, p.unfit("bad-1.0.0"))
	for _, u := range players {
		p.first[u] = p.random.IntN(changes * 2 / 3)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the history:\n%s", strings.Join(p.told, "\n"))
		}
	})
	return p
}

func (p *play) one(most int) bool { return p.random.IntN(most) == 0 }

func (p *play) audience() []dm.Subject {
	all := []dm.Subject{"user:ana", "user:ben", "user:bob", "user:cyd", "group:class", dm.Everyone}
	p.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+p.random.IntN(3)]
}

func (p *play) overrides() (o dm.Overrides, topic string) {
	topic = fmt.Sprint("topic-", p.random.IntN(3))
	return dm.Overrides{"jupyter": {"report": {"topic": json.RawMessage(strconv.Quote(topic))}}}, topic
}

// ref picks a package, now and then one of which nothing comes.
func (p *play) ref() (ref dm.PackageRef, unfit bool) {
	if p.one(7) {
		return p.refs[len(p.refs)-1], true
	}
	return p.refs[p.random.IntN(len(p.refs)-1)], false
}

// unfit is a package of which no application comes to be.
func (h *house) unfit(id string) dm.PackageRef {
	h.t.Helper()
	h.publish("teacher", id+".tar.gz", archivetest.Tgz(map[string]string{
		id + "/jupyter/report/report.ipynb":               `{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`,
		id + "/sparkStreaming/job/application.properties": "",
		id + "/sparkStreaming/job/log4j.properties":       "",
		id + "/sparkStreaming/job/job.py":                 "print()\n",
		id + "/sparkStreaming/job/properties.json":        `{"main_py": "job.py"}`,
	}))
	check(h.t, h.DeployPackage(ctx, as("teacher"), id))
	ref, err := dm.ParsePackageRef(id)
	check(h.t, err)
	return ref
}

// failed waits for a change that has to fail.
func (h *house) failed(app dm.ApplicationName, err error) {
	h.t.Helper()
	check(h.t, err)
	if view := h.settle(app); !strings.HasPrefix(view.Information, "Error") {
		h.t.Fatalf("%s is %s: %q", app, view.Phase, view.Information)
	}
}

// change makes one change of any sort that is legal, and calls meanwhile while it is
// carried out.
func (p *play) change(meanwhile func()) {
	p.t.Helper()
	app := dm.ApplicationName(fmt.Sprint("app-", p.random.IntN(5)))
	was, there := p.apps[app]
	next, fails, how := staged{topic: "flows"}, false, ""
	switch n := p.random.IntN(10); {
	case !there:
		spec := dm.Spec{Name: app}
		spec.Package, fails = p.ref()
		next.id = spec.Package.String()
		if p.one(2) {
			spec.Overrides, next.topic = p.overrides()
		}
		if next.audience = []dm.Subject{"user:teacher"}; !p.one(6) { // whose it is gets it when nobody is named
			spec.Audience = p.audience()
			next.audience = spec.Audience
		}
		how = "create"
		check(p.t, p.Create(ctx, as("teacher"), spec))
	case n < 2:
		how = "destroy"
		check(p.t, p.Destroy(ctx, as("teacher"), app, false))
	case n < 4:
		next, how = *was, "start"
		do := p.Start
		if view := p.settle(app); view.Phase == dm.Started {
			do, how = p.Stop, "stop"
		}
		check(p.t, do(ctx, as("teacher"), app))
	default:
		next, how = *was, "change"
		var e dm.Edit
		if p.one(2) {
			ref, unfit := p.ref()
			e.Package, fails, next.id = &ref, unfit, ref.String()
		}
		if p.one(2) {
			e.Overrides, next.topic = p.overrides()
		}
		if p.one(2) || e.Package == nil && e.Overrides == nil {
			e.Audience = p.audience()
			next.audience = e.Audience
		}
		check(p.t, p.Change(ctx, as("teacher"), app, e))
	}
	meanwhile()
	view := p.settle(app)
	p.told = append(p.told, fmt.Sprintf("%d: %s %s %+v, fails %v: %s", len(p.told), how, app, next, fails, view.Phase))
	if failed := strings.HasPrefix(view.Information, "Error"); failed != fails {
		p.t.Fatalf("%s of %s came to %s %q", how, app, view.Phase, view.Information)
	}
	switch {
	case fails: // all is as it was
	case how == "destroy":
		delete(p.apps, app)
	default:
		p.apps[app] = &next
	}
}

// who is a user as one of the ways to ask tells of them. The groups are always the same,
// as since when somebody is in one is when they ask.
func (p *play) who(u dm.UserName) dm.Reader {
	r := reader(u)
	r.Proved = p.one(2)
	return r
}

// asked has a user ask, and wants all of what is in effect for them, and nothing else.
func (p *play) asked(u dm.UserName) {
	p.t.Helper()
	dir := p.bring(u, p.who(u))
	want := map[string]string{}
	for app, s := range p.apps {
		if s.reaches(u) {
			want[string(app)+"/report.ipynb"] = s.notebook()
			want[string(app)+"/data/rows.csv"] = "a,b\r\n1,$5\r\n"
		}
	}
	c, err := repo.Open(dir).Commit(chainOf(p.t, dir)[repo.Main])
	check(p.t, err)
	files, err := c.Files()
	check(p.t, err)
	got := map[string]string{}
	check(p.t, files.ForEach(func(f *object.File) error {
		if f.Name == "README.ipynb" || filepath.Base(f.Name) == "properties.json" {
			return nil
		}
		got[f.Name], err = f.Contents()
		return err
	}))
	if !maps.Equal(got, want) {
		p.t.Fatalf("after %d changes %s has\n%v\nwant\n%v", len(p.told), u, got, want)
	}
}

// note keeps where a workspace that was asked for is, and how it began.
func (p *play) note(u dm.UserName) {
	p.t.Helper()
	dir, fetches := workspaceIn(p.dir, u), p.one(3)
	if !repo.Exists(dir) {
		return
	}
	if len(p.mains[u]) == 0 {
		copyTree(p.t, workspaceIn(p.begun, u), dir)
	}
	main := chainOf(p.t, dir)[repo.Main]
	if text := main.String(); !slices.Contains(p.mains[u], text) {
		p.mains[u] = append(p.mains[u], text)
	}
	if fetches {
		p.Workspaces().Fetched(u, main) // which moves no ref that counts
	}
}

func workspaceIn(dir string, u dm.UserName) string {
	return filepath.Join(dir, "users", string(u)+".git")
}

// all plays the history. Each user begins to ask at some moment, ana then asks after
// every change, and all ask at the end. At some moments the server dies, and its folder is kept.
func (p *play) all() {
	p.t.Helper()
	deaths := []int{changes/3 + p.random.IntN(changes/2), p.random.IntN(3 * changes)} // one or two
	for i := range changes {
		p.change(func() { // nobody knows yet what is in effect
			for _, u := range players {
				if i >= p.first[u] && p.one(3) {
					p.bring(u, p.who(u))
					p.note(u)
				}
			}
		})
		for _, u := range players {
			if i >= p.first[u] && (u == "ana" || i == changes-1 || !p.one(3)) {
				p.asked(u)
				p.note(u)
			}
		}
		if p.one(changes) {
			check(p.t, p.MaintainAll(ctx))
		}
		if slices.Contains(deaths, i) {
			p.stop()
			p.dead = append(p.dead, p.folder(p.dir))
			p.house = open(p.t, p.dir)
		}
	}
	for u, mains := range p.mains { // no two are the same, and each follows the one before
		history := strings.Fields(git(p.t, workspaceIn(p.dir, u), "rev-list", "--first-parent", "--reverse", "main"))
		history = slices.DeleteFunc(history, func(c string) bool { return !slices.Contains(mains, c) })
		if !slices.Equal(history, mains) {
			p.t.Errorf("main of %s was shown at %v, its history has %v", u, mains, history)
		}
	}
	p.sound()
	p.stop()
}

// folder copies a data folder of which no server is alive.
func (p *play) folder(dir string) string {
	p.t.Helper()
	to := p.t.TempDir()
	copyTree(p.t, to, dir)
	return to
}

func copyTree(t testing.TB, to, from string) {
	t.Helper()
	check(t, os.RemoveAll(to))
	check(t, os.CopyFS(to, os.DirFS(from)))
}

// again wants the same refs as those who asked after every change have of all others.
func (p *play) again() {
	p.t.Helper()
	want := map[dm.UserName]repo.Refs{}
	for u := range p.mains {
		want[u] = chainOf(p.t, workspaceIn(p.dir, u))
	}
	last := p.dir

	// Who asks when they begin, where servers died, and at the end.
	come := p.begun
	for _, dead := range p.dead {
		p.dir = dead
		var began []dm.UserName // by then
		for _, u := range players {
			if repo.Exists(workspaceIn(dead, u)) && !p.one(3) {
				began = append(began, u)
			}
			if want[u] != nil {
				copyTree(p.t, workspaceIn(dead, u), workspaceIn(come, u))
			}
		}
		p.house = openStill(p.t, dead)
		for _, u := range began {
			p.bring(u, p.who(u))
		}
		p.stop()
		come = dead
	}
	p.dir = p.folder(last)
	for _, u := range players {
		from := []string{come, p.begun}[p.random.IntN(2)] // or only when they begin and at the end
		if want[u] != nil {
			copyTree(p.t, workspaceIn(p.dir, u), workspaceIn(from, u))
		}
	}
	p.compare("of who asks more rarely", want)

	// Of a workspace that is lost nothing is left but where it began.
	p.dir = p.folder(last)
	for u := range p.mains {
		lost := filepath.Join(p.dir, "damaged", "users", string(u)+".git")
		check(p.t, os.Rename(workspaceIn(p.dir, u), lost))
		refs, err := repo.ReadRefs(lost)
		check(p.t, err)
		write(p.t.(*testing.T), filepath.Join(lost, "packed-refs"), fmt.Sprintf("%s %s\n", refs[repo.Brought], repo.Brought))
	}
	p.compare("of who had lost theirs", want)
}

// compare has all users ask in the folder of p.
func (p *play) compare(whose string, want map[dm.UserName]repo.Refs) {
	p.t.Helper()
	p.house = openStill(p.t, p.dir)
	for _, u := range players {
		if got := chainOf(p.t, p.bring(u, p.who(u))); want[u] != nil && !maps.Equal(got, want[u]) {
			p.t.Errorf("the refs %s, %s, are\n%v\nwant\n%v", whose, u, got, want[u])
		}
	}
	p.sound()
	p.stop()
}

// bring has a user ask in a way of their own, and returns the directory that answers.
func (h *house) bring(u dm.UserName, who dm.Reader) string {
	h.t.Helper()
	dir, main, err := h.Workspaces().Bring(ctx, u, who)
	check(h.t, err)
	if tip := chainOf(h.t, dir)[repo.Main]; tip != main {
		h.t.Errorf("%s was told that main is at %s, it is at %s", u, main, tip)
	}
	return dir
}

// TestOneAskedForAtOnce: all who ask for one workspace at once get the same commit, which
// is made once.
func TestOneAskedForAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := []dm.PackageRef{h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two")}
	for i, many := range []int{2, 8, 2, 8, 8} {
		if i == 0 {
			h.delivered("class", v[0], "group:class")
		} else {
			h.changed("teacher", "class", dm.Edit{Package: &v[i%2]})
		}
		dirs, mains, errs := make([]string, many), make([]plumbing.Hash, many), make([]error, many)
		var asking sync.WaitGroup
		for n := range many {
			asking.Go(func() { dirs[n], mains[n], errs[n] = h.Workspaces().Bring(ctx, "ana", reader("ana")) })
		}
		asking.Wait()
		check(t, errors.Join(errs...))
		for n := range many {
			if dirs[n] != dirs[0] || mains[n] != mains[0] {
				t.Errorf("one got %s in %s, another %s in %s", mains[0], dirs[0], mains[n], dirs[n])
			}
		}
		if got, want := git(t, dirs[0], "rev-list", "--count", mains[0].String()), fmt.Sprint(i+2); got != want {
			t.Errorf("%d who asked made %s commits, want %s", many, got, want)
		}
	}
	h.sound()
}

// TestManyAskWhileAllChanges has twenty users ask without a pause while applications
// change and maintenance runs. None fails, and no main ever goes anywhere but forward.
func TestManyAskWhileAllChanges(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := []dm.PackageRef{h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two")}
	h.delivered("all", v[0], dm.Everyone)
	h.delivered("class", v[0], "group:class")
	const people = 20
	who := func(n int) dm.Reader {
		if n%2 == 0 {
			return signedIn("class")
		}
		return signedIn()
	}
	seen := make([][]string, people) // mains in their order, of each user
	var done atomic.Bool
	var asked atomic.Int64
	var asking sync.WaitGroup
	const at = 5 // so many users ask at once
	for first := range at {
		asking.Go(func() {
			for n := first; !done.Load() && !t.Failed(); n = (n + at) % people {
				u := dm.UserName(fmt.Sprint("user", n))
				_, main, err := h.Workspaces().Bring(ctx, u, who(n))
				if err != nil {
					t.Errorf("%s: %v", u, err)
					return
				}
				asked.Add(1)
				h.Workspaces().Fetched(u, main)
				if last := len(seen[n]) - 1; last < 0 || seen[n][last] != main.String() {
					seen[n] = append(seen[n], main.String())
				}
			}
		})
	}
	stop := h.maintained()
	changes := updates(t, 12)
	for i := range changes {
		app := []dm.ApplicationName{"all", "class"}[i%2]
		h.settle(app) // the other one's change is under way
		check(t, h.Change(ctx, as("teacher"), app, dm.Edit{Package: &v[(i/2+1)%2]}))
	}
	h.settle("all")
	h.settle("class")
	done.Store(true)
	asking.Wait()
	passes := stop()
	for n := range people {
		u := dm.UserName(fmt.Sprint("user", n))
		dir := h.bring(u, who(n))
		history := strings.Fields(git(t, dir, "rev-list", "--first-parent", "--reverse", "main"))
		after := -1
		for _, main := range seen[n] {
			i := slices.Index(history, main)
			if i <= after {
				t.Errorf("%s was shown %s, which is not in its place in the history", u, main)
			}
			after = i
		}
		wantFolders(t, dir, []string{"all", "class"}[:2-n%2]...)
	}
	t.Logf("%d asked, beside %d changes and %d passes of maintenance", asked.Load(), changes, passes)
	h.sound()
}
