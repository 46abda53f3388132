package gitstore

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
)

// index holds the parsed heads of all repositories. Entries are immutable: a
// writer puts a new one in the place of the old while it holds the
// repository's lock, so a reader's copy never changes under it.
type index struct {
	mu       sync.RWMutex
	packages map[dm.PackageName]*packageEntry
	apps     map[dm.ApplicationName]*appEntry

	// unpublished are packages of which only applications know, since the start.
	unpublished map[dm.PackageRef]dm.ApplicationName

	// Only while this process works:
	deploying map[string]dm.Phase                    // package id → DEPLOYING or UNDEPLOYING
	reserved  map[string]reservation                 // Fold of an application being created → its name
	oddities  map[string]string                      // ids that no repository may hold → why their deploy failed
	oddOrder  []string                               // their order, oldest first
	oddBytes  int                                    // of the ids and the texts
	folded    map[string]map[dm.ApplicationName]bool // Fold → applications that have a repository
}

func newIndex() *index {
	return &index{
		packages: map[dm.PackageName]*packageEntry{}, apps: map[dm.ApplicationName]*appEntry{},
		deploying: map[string]dm.Phase{}, reserved: map[string]reservation{}, oddities: map[string]string{},
		folded: map[string]map[dm.ApplicationName]bool{}, unpublished: map[dm.PackageRef]dm.ApplicationName{},
	}
}

// reservation is a folded name that creates are under way for, all of one name.
type reservation struct {
	name    dm.ApplicationName
	holders int
}

// packageEntry is one package repository.
type packageEntry struct {
	versions []versionEntry // newest first
	outcomes map[dm.Version]outcomeEntry
	main     plumbing.Hash // commit of the newest upload; zero when there never was one
	owner    dm.UserName   // who published the first version; "" when there never was one

	// withdrawn are the versions that nobody can get any more, as they were last.
	withdrawn map[dm.Version]versionEntry
}

// versionEntry is one published version.
type versionEntry struct {
	file      dm.PackageFile
	tag       plumbing.Hash // annotated tag
	commit    plumbing.Hash
	tree      plumbing.Hash
	archive   plumbing.Hash // blob
	digest    string        // SHA-256 of the archive
	top       string        // the single outer directory, "" when there was none
	published time.Time
	findings  []string // why it can't be deployed, as it was judged when it came
	by        dm.UserName
}

// outcomeEntry is the tip of refs/deployed/<x.y.z>.
type outcomeEntry struct {
	tip         plumbing.Hash
	tree        plumbing.Hash // the package's tree as it was deployed
	once        bool          // an outcome before it had files, when it has none
	phase       dm.Phase
	owner       dm.UserName
	by          dm.UserName // who deployed or undeployed
	information string
}

func newVersionEntry(v form.Version) versionEntry {
	return versionEntry{
		file: v.File, tag: v.Tag, commit: v.Commit, tree: v.Tree, archive: v.Archive, digest: v.Digest, top: v.Top,
		published: v.Time, findings: v.Findings, by: v.User,
	}
}

func newOutcomeEntry(d form.Decision) outcomeEntry {
	o := outcomeEntry{tip: d.Commit, tree: d.Tree, phase: d.Phase, by: d.User, information: dm.Printable(d.Information)}
	if o.phase == dm.Deployed {
		o.owner = d.User
	}
	return o
}

func (e *packageEntry) version(v dm.Version) (versionEntry, bool) {
	i, ok := slices.BinarySearchFunc(e.versions, v, func(e versionEntry, v dm.Version) int { return v.Compare(e.file.Ref.Version) })
	if !ok {
		return versionEntry{}, false
	}
	return e.versions[i], true
}

// with returns a copy that has the version in its place.
func (e *packageEntry) with(v versionEntry) *packageEntry {
	n := e.without(v.file.Ref.Version)
	i, _ := slices.BinarySearchFunc(n.versions, v.file.Ref.Version, func(e versionEntry, v dm.Version) int { return v.Compare(e.file.Ref.Version) })
	n.versions = slices.Insert(n.versions, i, v)
	return n
}

// withdraw returns a copy in which the version is a withdrawn one.
func (e *packageEntry) withdraw(v versionEntry) *packageEntry {
	n := e.without(v.file.Ref.Version)
	n.withdrawn = maps.Clone(e.withdrawn)
	if n.withdrawn == nil {
		n.withdrawn = map[dm.Version]versionEntry{}
	}
	n.withdrawn[v.file.Ref.Version] = v
	return n
}

// without returns a copy that lacks the version.
func (e *packageEntry) without(v dm.Version) *packageEntry {
	n := *e
	n.versions = slices.DeleteFunc(slices.Clone(e.versions), func(e versionEntry) bool { return e.file.Ref.Version == v })
	return &n
}

// withOutcome returns a copy that has the outcome.
func (e *packageEntry) withOutcome(v dm.Version, o outcomeEntry) *packageEntry {
	n := *e
	n.outcomes = maps.Clone(e.outcomes)
	if n.outcomes == nil {
		n.outcomes = map[dm.Version]outcomeEntry{}
	}
	n.outcomes[v] = o
	return &n
}

// appEntry is one application repository.
type appEntry struct {
	main        plumbing.Hash // tip of refs/heads/main
	desired     contentEntry  // at main
	last        dm.Stamp      // of main
	deployments int           // highest number given
	observedTip plumbing.Hash
	observed    *dm.Observation
	effective   contentEntry // at observed.Effective; zero when nothing is in effect
	shown       shown
	waiting     string // why the change at main can't be carried out now; "" when it is not known to wait
}

// contentEntry is what one commit on an application's main holds.
type contentEntry struct {
	commit      plumbing.Hash
	tree        plumbing.Hash
	packageTree plumbing.Hash // package/
	components  plumbing.Hash // components/
	spec        dm.Spec
	size        int // of its application.json, in bytes
	deployment  int // number of the content; start, stop and destroy keep that of what they follow
	notes       []string
}

func newContentEntry(c form.Change) contentEntry {
	e := contentEntry{
		commit: c.Commit, tree: c.Tree, packageTree: c.Package, components: c.Components, spec: c.Spec, size: c.Size, deployment: c.Deployment,
	}
	if c.Information != "" {
		e.notes = []string{c.Information}
	}
	return e
}

// working tells whether the dispatcher still owes an outcome.
func (e *appEntry) working() bool {
	return !e.main.IsZero() && (e.observed == nil || string(e.observed.Desired) != e.main.String())
}

// waits tells whether a destroy, a stop or a change is taken in the place of the
// change that is being worked on. A destroy is never overtaken.
func (e *appEntry) waits() bool {
	return e.working() && e.waiting != "" && e.desired.spec.State != dm.WantDestroyed
}

// left tells whether the last change failed and left something standing.
func (e *appEntry) left() bool {
	return !e.working() && e.observed != nil && (e.observed.Left || e.observed.Phase == dm.NotCreated && len(e.observed.Records) > 0)
}

// slim forgets what nobody asks for any more of an application of which nothing
// is left but its history: names stay used, and may be many. Who was delivered
// to is asked for, because they may read that history.
func (e *appEntry) slim() {
	if e.recorded() {
		return
	}
	e.desired.spec.Overrides, e.desired.notes, e.last.Reason = nil, nil, ""
	e.desired.size = 0
	for _, subject := range e.desired.spec.Audience {
		e.desired.size += len(subject)
	}
}

// settled is the phase before the change that is being worked on, or now.
func (e *appEntry) settled() dm.Phase {
	if e.observed == nil {
		return dm.NotCreated
	}
	return e.observed.Phase
}

func (e *appEntry) phase() dm.Phase {
	if e.working() {
		return dm.WorkingPhase(e.last.Verb, e.desired.spec.State)
	}
	return e.settled()
}

// recorded tells whether PNDA would have a record: everything but an
// application that never was, that was destroyed, or whose failure was cleared.
func (e *appEntry) recorded() bool {
	return e.working() || e.observed != nil && (e.observed.Phase != dm.NotCreated || e.observed.Information != "")
}

// current is the content to show and to build the next change on: the desired
// one while working or when nothing ever was in effect, else the one in effect.
func (e *appEntry) current() contentEntry {
	if e.working() || e.effective.commit.IsZero() {
		return e.desired
	}
	return e.effective
}

func (x *index) pkg(n dm.PackageName) *packageEntry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.packages[n]
}

func (x *index) putPackage(n dm.PackageName, e *packageEntry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.packages[n] = e
}

func (x *index) app(a dm.ApplicationName) *appEntry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.apps[a]
}

func (x *index) putApp(a dm.ApplicationName, e *appEntry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.apps[a] = e
	same := x.folded[a.Fold()]
	if same == nil {
		same = map[dm.ApplicationName]bool{}
		x.folded[a.Fold()] = same
	}
	same[a] = true
}

// eachPackage calls do for every package, in no order; do asks the index nothing.
func (x *index) eachPackage(do func(dm.PackageName, *packageEntry)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for name, e := range x.packages {
		do(name, e)
	}
}

// appNames returns the names for which keep holds, in byte order.
func (x *index) appNames(keep func(*appEntry) bool) []dm.ApplicationName {
	x.mu.RLock()
	names := make([]dm.ApplicationName, 0, len(x.apps))
	for name, e := range x.apps {
		if keep(e) {
			names = append(names, name)
		}
	}
	x.mu.RUnlock()
	slices.Sort(names)
	return names
}

// reserve keeps a folded name for one application while it is created, so that
// two names that Kubernetes can't tell apart never both exist. away are the
// applications out of service.
func (x *index) reserve(a dm.ApplicationName, away []dm.Repository) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	held := x.reserved[a.Fold()]
	other, taken := held.name, held.holders > 0
	for name := range x.folded[a.Fold()] {
		if name != a && x.apps[name].recorded() {
			other, taken = name, true
		}
	}
	for _, r := range away { // what it holds nobody knows now
		if name := dm.ApplicationName(r.Name); name != a && name.Fold() == a.Fold() {
			other, taken = name, true
		}
	}
	if taken && other != a {
		return dm.Errorf(dm.Invalid, "create", "the application name %q differs from the existing %q only in letter case or '_' against '-'", string(a), string(other))
	}
	x.reserved[a.Fold()] = reservation{a, held.holders + 1}
	return nil
}

// forget drops what is known of a repository.
func (x *index) forget(r dm.Repository) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch r.Kind {
	case dm.PackageRepository:
		delete(x.packages, dm.PackageName(r.Name))
	case dm.ApplicationRepository:
		app := dm.ApplicationName(r.Name)
		delete(x.apps, app)
		delete(x.folded[app.Fold()], app)
	}
}

func (x *index) release(a dm.ApplicationName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	held := x.reserved[a.Fold()]
	if held.holders--; held.holders > 0 {
		x.reserved[a.Fold()] = held
		return
	}
	delete(x.reserved, a.Fold())
}

// maxOddities bounds what is remembered of ids that can't name a package, or
// whose failure is one too many for the record.
const (
	maxOddities    = 1000
	maxOddityBytes = 2 << 20
)

// claim begins a deploy or an undeploy of id: its phase must be need, and is
// working until release.
func (x *index) claim(id string, need, working dm.Phase) (release func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.deploying[id]
	if now == "" {
		now = dm.NotDeployed
		if ref, err := dm.ParsePackageRef(id); err == nil {
			now = x.outcomeLocked(ref).phase
		}
	}
	if now != need {
		kind := dm.Conflict
		if now == dm.NotDeployed {
			kind = dm.NotFound
		}
		return nil, dm.Errorf(kind, "claim", "the package %s is %s", id, now).In(now)
	}
	x.deploying[id] = working
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.deploying, id)
	}, nil
}

func (x *index) outcomeLocked(ref dm.PackageRef) outcomeEntry {
	o := outcomeEntry{phase: dm.NotDeployed}
	if e := x.packages[ref.Name]; e != nil {
		if found, ok := e.outcomes[ref.Version]; ok {
			o = found
		}
	}
	return o
}

func (x *index) outcome(ref dm.PackageRef) outcomeEntry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.outcomeLocked(ref)
}

// packagePhase returns the working phase, "" when idle, and the last outcome.
func (x *index) packagePhase(ref dm.PackageRef) (working dm.Phase, o outcomeEntry) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.deploying[ref.String()], x.outcomeLocked(ref)
}

// setOddity remembers a text, as the newest, and forgets the oldest beyond what
// is kept: ids and texts are as long as a stranger wants.
func (x *index) setOddity(id, text string) {
	x.dropOddity(id)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.oddOrder = append(x.oddOrder, id)
	x.oddities[id] = text
	x.oddBytes += len(id) + len(text)
	for len(x.oddOrder) > maxOddities || x.oddBytes > maxOddityBytes && len(x.oddOrder) > 1 {
		oldest := x.oddOrder[0]
		x.oddBytes -= len(oldest) + len(x.oddities[oldest])
		delete(x.oddities, oldest)
		x.oddOrder = x.oddOrder[1:]
	}
}

// dropOddity forgets the text of an id that has an outcome in the record now.
func (x *index) dropOddity(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if text, ok := x.oddities[id]; ok {
		x.oddBytes -= len(id) + len(text)
		delete(x.oddities, id)
		x.oddOrder = slices.DeleteFunc(x.oddOrder, func(o string) bool { return o == id })
	}
}

func (x *index) oddity(id string) (dm.Phase, string) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if working := x.deploying[id]; working != "" {
		return working, ""
	}
	return dm.NotDeployed, x.oddities[id]
}

// readers are the users that applications have delivered to.
func (x *index) readers() map[dm.UserName]bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	users := map[dm.UserName]bool{}
	for _, e := range x.apps {
		if e.observed == nil {
			continue
		}
		for _, r := range e.observed.Records {
			for _, u := range r.Users {
				users[u] = true
			}
		}
	}
	return users
}
