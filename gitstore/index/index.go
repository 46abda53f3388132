package index

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
)

// Index holds the parsed heads of all repositories. Entries are immutable: a
// writer puts a new one in the place of the old while it holds the
// repository's lock, so a reader's copy never changes under it.
type Index struct {
	mu       sync.RWMutex
	packages map[dm.PackageName]*Package
	apps     map[dm.ApplicationName]*Application

	// unpublished are packages of which only applications know, since the start.
	unpublished map[dm.PackageRef]dm.ApplicationName

	// Only while this process works:
	deploying map[string]dm.Phase                    // package id → DEPLOYING or UNDEPLOYING
	reserved  map[string]reservation                 // Fold of an application being created → its name
	oddities  map[string]string                      // ids that no repository may hold → why their deploy failed
	oddOrder  []string                               // their order, oldest first
	oddBytes  int                                    // of the ids and the texts
	folded    map[string]map[dm.ApplicationName]bool // Fold → applications that have a repository

	newest atomic.Uint64 // highest ObservedSeq
}

// New knows of nothing.
func New() *Index {
	return &Index{
		packages: map[dm.PackageName]*Package{}, apps: map[dm.ApplicationName]*Application{},
		deploying: map[string]dm.Phase{}, reserved: map[string]reservation{}, oddities: map[string]string{},
		folded: map[string]map[dm.ApplicationName]bool{}, unpublished: map[dm.PackageRef]dm.ApplicationName{},
	}
}

// reservation is a folded name that creates are under way for, all of one name.
type reservation struct {
	name    dm.ApplicationName
	holders int
}

// Package is one package repository.
type Package struct {
	Versions []form.Version // newest first
	Outcomes map[dm.Version]Outcome
	Main     plumbing.Hash // commit of the newest upload; zero when there never was one
	Owner    dm.UserName   // who published the first version; "" when there never was one
	Seq      uint64        // highest number of an event, as it was read

	// Withdrawn are the versions that nobody can get any more, as they were last.
	Withdrawn map[dm.Version]form.Version
}

// Outcome is the tip of refs/deployed/<x.y.z>.
type Outcome struct {
	form.Decision
	once bool // an outcome before it had files, when it has none
}

// Version finds a version that is published.
func (e *Package) Version(v dm.Version) (form.Version, bool) {
	i, ok := slices.BinarySearchFunc(e.Versions, v, func(e form.Version, v dm.Version) int { return v.Compare(e.File.Ref.Version) })
	if !ok {
		return form.Version{}, false
	}
	return e.Versions[i], true
}

// With returns a copy that has the version in its place.
func (e *Package) With(v form.Version) *Package {
	n := e.without(v.File.Ref.Version)
	i, _ := slices.BinarySearchFunc(n.Versions, v.File.Ref.Version, func(e form.Version, v dm.Version) int { return v.Compare(e.File.Ref.Version) })
	n.Versions = slices.Insert(n.Versions, i, v)
	return n
}

// Withdraw returns a copy in which the version is a withdrawn one.
func (e *Package) Withdraw(v form.Version) *Package {
	n := e.without(v.File.Ref.Version)
	n.Withdrawn = maps.Clone(e.Withdrawn)
	if n.Withdrawn == nil {
		n.Withdrawn = map[dm.Version]form.Version{}
	}
	n.Withdrawn[v.File.Ref.Version] = v
	return n
}

// without returns a copy that lacks the version.
func (e *Package) without(v dm.Version) *Package {
	n := *e
	n.Versions = slices.DeleteFunc(slices.Clone(e.Versions), func(e form.Version) bool { return e.File.Ref.Version == v })
	return &n
}

// WithOutcome returns a copy that has the outcome.
func (e *Package) WithOutcome(v dm.Version, d form.Decision) *Package {
	n := *e
	n.Outcomes = maps.Clone(e.Outcomes)
	if n.Outcomes == nil {
		n.Outcomes = map[dm.Version]Outcome{}
	}
	n.Outcomes[v] = Outcome{Decision: d}
	return &n
}

// Application is one application repository.
type Application struct {
	Main        plumbing.Hash // tip of refs/heads/main
	Desired     form.Change   // at main; Deployment is the number in force
	Deployments int           // highest number given
	ObservedTip plumbing.Hash
	Observed    *dm.Observation
	ObservedSeq uint64        // number of the outcome at ObservedTip; 0 before format 3
	Logs        plumbing.Hash // tree at ObservedTip of what components wrote last; zero for nothing
	Effective   form.Change   // at observed.Effective; zero when nothing is in effect
	Shown       Shown
	Seq         uint64 // highest number of an event, as it was read
	Waiting     string // why the change at main can't be carried out now; "" when it is not known to wait
}

// Working tells whether the dispatcher still owes an outcome.
func (e *Application) Working() bool {
	return !e.Main.IsZero() && (e.Observed == nil || string(e.Observed.Desired) != e.Main.String())
}

// Waits tells whether a destroy, a stop or a change is taken in the place of the
// change that is being worked on. A destroy is never overtaken.
func (e *Application) Waits() bool {
	return e.Working() && e.Waiting != "" && e.Desired.Spec.State != dm.WantDestroyed
}

// Left tells whether the last change failed and left something standing.
func (e *Application) Left() bool {
	return !e.Working() && e.Observed != nil && (e.Observed.Left || e.Observed.Phase == dm.NotCreated && len(e.Observed.Records) > 0)
}

// KeptLogs is the tree of what components wrote last that the next outcome goes on
// with: nobody reads what an earlier life wrote.
func (e *Application) KeptLogs() plumbing.Hash {
	if e.Working() && e.Settled() == dm.NotCreated {
		return plumbing.ZeroHash
	}
	return e.Logs
}

// Slim forgets what nobody asks for any more of an application of which nothing
// is left but its history: names stay used, and may be many. Who was delivered
// to is asked for, because they may read that history.
func (e *Application) Slim() {
	if e.Recorded() {
		return
	}
	e.Desired.Spec.Overrides, e.Desired.Information, e.Desired.Reason = nil, "", ""
	e.Desired.Size = 0
	for _, subject := range e.Desired.Spec.Audience {
		e.Desired.Size += len(subject)
	}
}

// Settled is the phase before the change that is being worked on, or now.
func (e *Application) Settled() dm.Phase {
	if e.Observed == nil {
		return dm.NotCreated
	}
	return e.Observed.Phase
}

// Phase is that of the change that is being worked on, or the last outcome's.
func (e *Application) Phase() dm.Phase {
	if e.Working() {
		return dm.WorkingPhase(e.Desired.Verb, e.Desired.Spec.State)
	}
	return e.Settled()
}

// Recorded tells whether PNDA would have a record: everything but an
// application that never was, that was destroyed, or whose failure was cleared.
func (e *Application) Recorded() bool {
	return e.Working() || e.Observed != nil && (e.Observed.Phase != dm.NotCreated || e.Observed.Information != "")
}

// Current is the content to show and to build the next change on: the desired
// one while working or when nothing ever was in effect, else the one in effect.
func (e *Application) Current() form.Change {
	if e.Working() || e.Effective.Commit.IsZero() {
		return e.Desired
	}
	return e.Effective
}

// Package is the entry of a package, nil when there is none.
func (x *Index) Package(n dm.PackageName) *Package {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.packages[n]
}

// PutPackage takes a new entry. The caller holds the repository's lock.
func (x *Index) PutPackage(n dm.PackageName, e *Package) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.packages[n] = e
}

// Application is the entry of an application, nil when there is none.
func (x *Index) Application(a dm.ApplicationName) *Application {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.apps[a]
}

// PutApp takes a new entry. The caller holds the repository's lock.
func (x *Index) PutApp(a dm.ApplicationName, e *Application) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.apps[a] = e
	x.newest.Store(max(x.newest.Load(), e.ObservedSeq))
	same := x.folded[a.Fold()]
	if same == nil {
		same = map[dm.ApplicationName]bool{}
		x.folded[a.Fold()] = same
	}
	same[a] = true
}

// NewestOutcome is the highest number of an outcome that is known.
func (x *Index) NewestOutcome() uint64 { return x.newest.Load() }

// EachPackage calls do for every package, in no order; do asks the index nothing.
func (x *Index) EachPackage(do func(dm.PackageName, *Package)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for name, e := range x.packages {
		do(name, e)
	}
}

// Names returns the names for which keep holds, in byte order.
func (x *Index) Names(keep func(*Application) bool) []dm.ApplicationName {
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

// Reserve keeps a folded name for one application while it is created, so that
// two names that Kubernetes can't tell apart never both exist. away are the
// applications out of service.
func (x *Index) Reserve(a dm.ApplicationName, away []dm.Repository) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	held := x.reserved[a.Fold()]
	other, taken := held.name, held.holders > 0
	for name := range x.folded[a.Fold()] {
		if name != a && x.apps[name].Recorded() {
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

// Forget drops what is known of a repository.
func (x *Index) Forget(r dm.Repository) {
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

// Release ends what Reserve began.
func (x *Index) Release(a dm.ApplicationName) {
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

// Claim begins a deploy or an undeploy of id: its phase must be need, and is
// working until release.
func (x *Index) Claim(id string, need, working dm.Phase) (release func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.deploying[id]
	if now == "" {
		now = dm.NotDeployed
		if ref, err := dm.ParsePackageRef(id); err == nil {
			now = x.outcomeLocked(ref).Phase
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

func (x *Index) outcomeLocked(ref dm.PackageRef) Outcome {
	o := Outcome{Decision: form.Decision{Phase: dm.NotDeployed}}
	if e := x.packages[ref.Name]; e != nil {
		if found, ok := e.Outcomes[ref.Version]; ok {
			o = found
		}
	}
	return o
}

// Outcome is the last one of a version; NOT_DEPLOYED when there is none.
func (x *Index) Outcome(ref dm.PackageRef) Outcome {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.outcomeLocked(ref)
}

// PackagePhase returns the working phase, "" when idle, and the last outcome.
func (x *Index) PackagePhase(ref dm.PackageRef) (working dm.Phase, o Outcome) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.deploying[ref.String()], x.outcomeLocked(ref)
}

// SetOddity remembers a text, as the newest, and forgets the oldest beyond what
// is kept: ids and texts are as long as a stranger wants.
func (x *Index) SetOddity(id, text string) {
	x.DropOddity(id)
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

// DropOddity forgets the text of an id that has an outcome in the record now.
func (x *Index) DropOddity(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if text, ok := x.oddities[id]; ok {
		x.oddBytes -= len(id) + len(text)
		delete(x.oddities, id)
		x.oddOrder = slices.DeleteFunc(x.oddOrder, func(o string) bool { return o == id })
	}
}

// Oddity tells of an id without an outcome in the record.
func (x *Index) Oddity(id string) (dm.Phase, string) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if working := x.deploying[id]; working != "" {
		return working, ""
	}
	return dm.NotDeployed, x.oddities[id]
}
