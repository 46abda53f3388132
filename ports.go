package dm

import (
	"context"
	"io"
	"io/fs"
	"time"
)

// PackageStore is the record's slice for PNDA's package repository.
// Implemented by gitstore. All methods may be called from many goroutines.
type PackageStore interface {
	// Publish reads one archive from body and makes it a version. size is its
	// length in bytes, or -1 when it is not known. The version is durable when
	// Publish returns nil; on any error nothing has changed.
	// Kinds: Invalid (unreadable or unsafe archive), TooLarge, Conflict (the
	// version holds other bytes and versions are immutable), Forbidden,
	// Unavailable (the package's repository is damaged).
	Publish(ctx context.Context, actor Actor, file PackageFile, body io.Reader, size int64) (Published, error)
	// Withdraw takes the version out of the listing; its bytes and tag stay in
	// history. Kinds: NotFound, Forbidden, Unavailable.
	Withdraw(ctx context.Context, actor Actor, file PackageFile) error
	// OpenArchive opens the uploaded bytes under either suffix, because PNDA's
	// deployment manager asks for .tar.gz whatever was uploaded. Kinds:
	// NotFound, Unavailable.
	OpenArchive(ctx context.Context, file PackageFile) (Archive, error)
	// ListPackages returns all packages by name in byte order, each with its
	// newest recency versions first; recency 0 means all.
	ListPackages(recency int) []PackageListing
}

// PackageListing is one package name with its versions, newest first.
type PackageListing struct {
	Name     PackageName
	Versions []PackageFile
}

// Published is the answer to an upload.
type Published struct {
	File    PackageFile
	Tag     Revision // object name of the annotated tag, the authority for the version
	Commit  Revision
	Digest  string // SHA-256 of the archive, 64 hexadecimal digits
	Already bool   // the same bytes were there before; nothing changed
	// Findings are why the version can't be deployed, Notes what is odd in it;
	// both are few and short. Notes are told when it is published, and not again.
	Findings, Notes []string
}

// Archive is an uploaded archive opened for reading. The caller closes it.
type Archive struct {
	File     PackageFile
	Size     int64  // bytes
	Digest   string // SHA-256, 64 hexadecimal digits
	Uploaded time.Time
	io.ReadSeekCloser
}

// PackageStatus is what the deployment manager tells of one package id.
type PackageStatus struct {
	Name, Version string // as SplitPackageID cuts the id
	Phase         Phase
	Owner         UserName // user of the successful deploy; "" when there is none
	Defaults      Defaults // nil unless deployed and idle
	Information   string   // may be empty
}

// DeployedStore is the record's slice for PNDA packages in the deployment
// manager's sense. ids are taken as text because PNDA answers 200 for any id.
type DeployedStore interface {
	// DeployPackage validates the published version and records the outcome
	// before it returns. A bad package is not an error: its outcome is
	// NOTDEPLOYED with an explanation. Kinds: Conflict (with the phase),
	// Forbidden, Unavailable (it can't be read or recorded now, and is as it was).
	DeployPackage(ctx context.Context, actor Actor, id string) error
	// UndeployPackage kinds: NotFound, Conflict (both with the phase), Forbidden.
	UndeployPackage(ctx context.Context, actor Actor, id string) error
	// PackageStatus never fails for an unknown id; it fails with Unavailable
	// when the package's repository is damaged.
	PackageStatus(ctx context.Context, id string) (PackageStatus, error)
	// DeployedPackages returns the ids of deployed packages in byte order.
	DeployedPackages() []string
	// PackageApplications returns the applications made from id whose phase is
	// not NOTCREATED, in byte order.
	PackageApplications(id string) []ApplicationName
}

// ApplicationStore is the record's slice for applications. Every change is
// durable when its method returns nil; the dispatcher carries it out later.
// Order of checks: phase (NotFound or Conflict, with the phase), then the
// package's phase, then policy (Forbidden), then findings (Invalid).
type ApplicationStore interface {
	Create(ctx context.Context, actor Actor, spec Spec) error
	Change(ctx context.Context, actor Actor, app ApplicationName, edit Edit) error
	Start(ctx context.Context, actor Actor, app ApplicationName) error
	Stop(ctx context.Context, actor Actor, app ApplicationName) error
	// Destroy with clear also accepts an application whose creation failed and
	// removes the record of that failure.
	Destroy(ctx context.Context, actor Actor, app ApplicationName, clear bool) error
	// Rollback takes package, overrides and audience of deployment number to and
	// keeps the wanted state. Kind Invalid: there is no such deployment, or it
	// belongs to an earlier life that a destroy ended.
	Rollback(ctx context.Context, actor Actor, app ApplicationName, to int) error
	// Application returns ok = false when there is no record. Unavailable when
	// the application's repository is damaged.
	Application(ctx context.Context, app ApplicationName) (view Application, ok bool, err error)
	// Applications returns the names whose settled phase is not NOTCREATED and
	// that are not being created for the first time, in byte order.
	Applications() []ApplicationName
}

// WorkStore is the record's slice for the dispatcher: what is desired and not yet
// observed, and where outcomes go.
type WorkStore interface {
	// Pending returns the applications whose observed desired commit is not
	// the tip of main.
	Pending() []ApplicationName
	// Leftovers returns the applications whose last change failed and left
	// something that could not be taken back.
	Leftovers() []ApplicationName
	// Work describes the pending change of app, or what is to be taken back
	// there; ok = false when there is neither.
	Work(ctx context.Context, app ApplicationName) (work Work, ok bool, err error)
	// Waiting tells why the pending change of app, which is at unless that is "",
	// can't be carried out now. Until its outcome is recorded readers see why, and
	// a destroy, a stop or a change is accepted in its place. It is remembered in
	// memory only.
	Waiting(app ApplicationName, at Revision, why string)
	// WorkAt describes an earlier change of app, to put it back into effect.
	WorkAt(ctx context.Context, app ApplicationName, at Revision) (Work, error)
	// Observe records the outcome of a change durably. Kind Stale: main has
	// moved past outcome.Desired, look again.
	Observe(ctx context.Context, app ApplicationName, outcome Observation) error
	// Standing returns the applications whose newest change has its outcome and of
	// which something stands.
	Standing() []ApplicationName
	// Settled returns that outcome, nil when there is none. It is not to be changed.
	Settled(app ApplicationName) *Observation
	// Show lets readers see now in the place of the outcome of, which Settled gave,
	// until another is recorded. It is remembered in memory only.
	Show(app ApplicationName, of, now *Observation)
}

// Reader is who asks for a workspace, as far as that is known.
type Reader struct {
	Groups []string // of the workspace's user
	Proved bool     // it is the user, who has signed in, and Groups are all
	Known  bool     // there is such a user, whoever asks
	Other  bool     // somebody else asks, who has signed in
}

// Fetch is what somebody fetched of an application last.
type Fetch struct {
	Deployment int  // 0 for nothing yet
	Current    bool // its files are those that are delivered now
	Time       time.Time
}

// Deliveries is the record's slice for who got what. Implemented by gitstore.
type Deliveries interface {
	// Receivers returns the users who have a workspace and to whom the application
	// delivers now, each with what they fetched of it last. Kinds: Unavailable.
	Receivers(app ApplicationName) (map[UserName]Fetch, error)
}

// Engines asks the engines about a change before it is accepted. Implemented by
// hooks.
type Engines interface {
	// Probe asks for each component type of w whether its engine would take it, for
	// some seconds at most. Findings are faults of the change. What can't be asked now
	// is no fault.
	Probe(ctx context.Context, w Work) []Finding
}

// DeliveredFile names one file of what an application delivers, for the pods of its
// components.
type DeliveredFile struct {
	Application ApplicationName
	Type        ComponentType
	Component   ComponentName
	Path        string // within the component
	Filled      bool   // a jar, with application.properties of the component in it
}

// FileAddresses makes the addresses at which pods fetch what is delivered.
// Implemented by apihandlers/files.
type FileAddresses interface {
	// Address is good as long as the deployment in effect, or the one that is being
	// carried out, has f with a content of that digest, SHA-256. It ends in the file's
	// name, and is the same each time.
	Address(f DeliveredFile, digest [32]byte) string
}

// Delivered is the record's slice for what pods fetch. Implemented by gitstore.
type Delivered interface {
	// OpenDelivered opens a file as it is delivered; Filled is not looked at. coming
	// asks for the deployment that is being carried out, else it is the one in effect.
	// The reader is closed by who asked. Kinds: NotFound, Unavailable.
	OpenDelivered(ctx context.Context, f DeliveredFile, coming bool) (content io.ReadCloser, size int64, err error)
}

// Logs shows what components write where they run. Implemented by plugins.
type Logs interface {
	// HasLogs tells whether components of the type write any that can be shown.
	HasLogs(t ComponentType) bool
	// StreamLogs is that of the plugin of the record's type, see LogStreamer.
	StreamLogs(ctx context.Context, w io.Writer, record PluginRecord, component ComponentName, lines int, follow bool) error
}

// KeptLogs is the record's slice for what components wrote last. Implemented by
// gitstore.
type KeptLogs interface {
	// KeptLog returns the newest that is kept of a component in the life that the
	// application lives now; ok = false when there is none. Kinds: Unavailable.
	KeptLog(ctx context.Context, app ApplicationName, t ComponentType, component ComponentName) (log KeptLog, ok bool, err error)
}

// Work is one change to be carried out.
type Work struct {
	Spec       Spec
	Change     Stamp
	Desired    Revision
	Deployment int          // of the content that Spec asks for
	Observed   *Observation // the outcome before, nil at the first change
	Before     Phase        // the settled phase before the change
	Components []Component  // as planned when the change was accepted; Files' contents are in Open
	Open       fs.FS        // the tree components/ as delivered; its paths are <type>/<name>/…
	Notes      []string     // what the planner remarked, for Information
	Overtaken  []Work       // changes before this one that were given up while they waited, oldest first: pieces of them may stand
	TakeBack   bool         // the change has failed, and only what it left is to be taken back
}

// Planner turns a spec and a package's files into what is delivered. It is
// pure: no I/O but reading files. Implemented by plugins.
type Planner interface {
	// Validate checks the structure of a package at deploy. top is the name of
	// the single outer directory, "" when there was none. All findings at once.
	Validate(ref PackageRef, top string, files fs.FS) (Validation, error)
	// Look returns a function that tells how many bytes of a file's beginning
	// Validate reads, of all files of one package in any order: for who judges
	// a package before it is recorded. path is within the package. A file system
	// that holds no more fails with errors.ErrUnsupported.
	Look() func(path string, size int64) int64
	// Plan checks spec against the package and fills every component. It counts
	// what the plan will hold before it builds it, refuses with a finding what
	// is over its limit, and asks reserve for the rest; see Reserve.
	Plan(ref PackageRef, spec Spec, files fs.FS, reserve Reserve) (Plan, []Finding, error)
}

// Validation is what a package says of itself, before anything is made of it.
type Validation struct {
	Defaults Defaults  // nil when there are findings
	Findings []Finding // why it can't be deployed
	Notes    []string  // for people: what is odd, and keeps nothing from being deployed
}

// Reserve waits until bytes of memory are free for what is about to be built.
// It is called at most once for each plan, and its error ends the planning. nil
// reserves nothing.
type Reserve func(bytes int64) error

// Plan is the outcome of planning.
type Plan struct {
	Defaults   Defaults
	Components []Component // by type, then name, in byte order
	Notes      []string    // for people, such as overrides that were ignored
}

// Component is one component as it is delivered.
type Component struct {
	Type      ComponentType
	Name      ComponentName
	Workspace bool   // its files go into users' repositories
	Files     []File // by path in byte order
}

// File is one delivered file. Either Source names the package's file whose
// bytes are delivered unchanged, or Content holds the bytes.
type File struct {
	Path       string
	Source     string
	Content    []byte
	Executable bool
}

// Admission is the one judgement on every change, from REST and from push.
// Implemented by hooks. It returns the plan for a create or a change, so that
// nothing is planned twice; nil otherwise.
type Admission interface {
	Admit(ctx context.Context, r AdmissionRequest) (*Plan, error)
}

// AdmissionRequest is a change that is legal in the present state and waits for
// judgement of policy and content.
type AdmissionRequest struct {
	Actor            Actor
	Verb             Verb
	Package          PackageRef
	PackageOwner     UserName
	Application      ApplicationName
	ApplicationOwner UserName
	Spec             Spec  // for Create and Change: as it would be
	Files            fs.FS // for Create and Change: the package's files
	Audience         bool  // the change sets the audience
	Reserve          Reserve
}

// Directory knows users and groups. Implemented by apihandlers/auth.
type Directory interface {
	// Known tells whether the user exists.
	Known(u UserName) bool
	// Groups returns the groups of a user, in byte order.
	Groups(u UserName) []string
	// Members returns the members of a group, in byte order.
	Members(group string) []UserName
}

// Credential is what a request offers to prove who sent it.
type Credential struct {
	Scheme string // "basic" or "bearer", lower case
	User   string // of basic
	Secret string // password or token; never logged
	Source string // the address that it comes from, for limits; "" when it is not known
}

// Identity is what a credential proved.
type Identity struct {
	User   UserName
	Groups []string // in which the prover knows User to be, beside those of the Directory
	Auth   string   // how; stands in the DM-Auth trailer
	Scopes []Scope  // see Actor
}

// Authenticator proves credentials. ok = false means that the credential is
// not of a sort it knows, and the next one is asked. Kinds: Unauthenticated
// (known sort, does not hold), Unavailable (cannot tell now).
type Authenticator interface {
	Authenticate(ctx context.Context, c Credential) (id Identity, ok bool, err error)
}

// Events is the record's slice for who follows what happens. Implemented by
// gitstore. Events are told in the order of their numbers, and none before all
// smaller numbers were told or given up; some numbers tell of nothing. Those of
// what is not recorded have no Ref, are told once and are gone with the process.
type Events interface {
	// Events returns the events that follow the number after, oldest first, at
	// most so many. It waits until there is one or ctx ends. Kinds: Invalid (there
	// is no such number yet), Unavailable (older ones can't be read now).
	Events(ctx context.Context, after uint64, most int) ([]Event, error)
	// Newest is the highest number that was told and that the record has: who
	// begins behind it misses nothing.
	Newest() uint64
	// Concerns tells what e is about as the policy sees it now; of a name that
	// never was, one without an owner.
	Concerns(e Event) Resource
}

// Cursors keeps how far readers of Events have come. Implemented by gitstore.
type Cursors interface {
	// Cursor returns the number that was kept last under name, which may be any
	// text; ok = false when there is none, or it is damaged. Kinds: Unavailable.
	Cursor(name string) (seq uint64, ok bool, err error)
	// KeepCursor is durable when it returns nil. Kinds: Unavailable.
	KeepCursor(name string, seq uint64) error
}

// RepositoryKind is a folder of repositories, or the only one of its kind.
type RepositoryKind string

// The kinds of repositories that are served.
const (
	PackageRepository     RepositoryKind = "packages"
	ApplicationRepository RepositoryKind = "applications"
	WorkspaceRepository   RepositoryKind = "users"
	ToolsRepository       RepositoryKind = "tools.git" // the programs for pods
)

// Repository addresses one repository by its logical name, "" where there is only
// one of its kind.
type Repository struct {
	Kind RepositoryKind
	Name string
}

// ReadOnly is the refusal of every push to a repository that only the server
// writes, nil for kinds whose pushes are judged. Kind Forbidden.
func ReadOnly(op string, kind RepositoryKind) error {
	switch kind {
	case PackageRepository, ApplicationRepository:
		return nil
	case WorkspaceRepository:
		return Errorf(Forbidden, op, "this workspace is read-only, the server writes it from what is deployed; files that you change stay in your folder, "+
			"where its sync keeps them; to deliver them, push a new version of their package to /packages/<name>.git")
	}
	return Errorf(Forbidden, op, "this repository is read-only, the server is its only writer")
}

// GitTransport starts git for the smart HTTP handler; implemented by gitstore.
type GitTransport interface {
	// Has tells whether the repository exists and is sound. A workspace of a
	// valid user name always exists: who has nothing gets README.ipynb. Kinds:
	// NotFound, Unavailable (set aside as damaged).
	Has(r Repository) error
	// Tip is the commit that main of a workspace is at, which is brought up to date
	// for who asks. It is answered from memory where nothing has changed. Kinds: those
	// of Has.
	Tip(ctx context.Context, r Repository, who Reader) (string, error)
	// UploadPack runs one stateless round of git upload-pack. A workspace is brought
	// up to date before its refs are told. It returns when
	// git has ended, and ends git within two seconds after ctx is cancelled.
	UploadPack(ctx context.Context, r Repository, round UploadRound) error
	// ReceivePack runs one stateless round of git receive-pack for a package or
	// an application. One that does not exist yet is advertised as empty; the
	// first accepted push makes it. git is started when all of In has arrived,
	// and not at all when In fails or is over a limit. It returns when git has
	// ended. Cancelling ctx ends git only as long as no ref is being moved.
	ReceivePack(ctx context.Context, r Repository, round ReceiveRound) error
}

// UploadRound is one request and its answer.
type UploadRound struct {
	Advertise bool      // info/refs; In is not read
	Reader    Reader    // of a workspace
	Protocol  string    // value of GIT_PROTOCOL, "" for version 0
	In        io.Reader // request body, already expanded and limited
	Out       io.Writer
}

// ReceiveRound is one request of a push and its answer.
type ReceiveRound struct {
	Actor     Actor // verified; its Via is "push"
	Advertise bool  // info/refs; In is not read
	Protocol  string
	In        io.Reader // as that of a fetch
	Out       io.Writer
}

// Pushes judges pushes; implemented by hooks. gitstore opens a session for each
// push and hands its environment to git, whose hook finds its way back to it.
type Pushes interface {
	// Open makes the session of p. Programs is the folder of the hook program,
	// environment what they need; close ends the session and forgets it.
	Open(ctx context.Context, p Push) (session PushSession, close func(), err error)
}

// PushSession is what git needs to run the hook of one push.
type PushSession struct {
	Programs    string // core.hooksPath
	Environment []string
}

// Push is one push as far as it has arrived; implemented by gitstore, used by
// hooks. Judge is called for every ref before Accept is called for any.
type Push interface {
	Repository() Repository
	Actor() Actor
	// Judge tells whether Accept would make the change, and changes nothing. All
	// findings at once.
	Judge(ctx context.Context, ref PushedRef) (PushOutcome, error)
	// Accept makes the change: the same methods as REST, under the lock.
	Accept(ctx context.Context, ref PushedRef) (PushOutcome, error)
}

// PushedRef is one ref that a client wants to move, understood.
type PushedRef struct {
	Name    string   // full name, as the client sent it
	Old     Revision // "" when the client takes it for new
	New     Revision
	Version *Version // of a package's tag; nil for main of an application
	Reason  string   // of the push; see ParseReason
	Faulty  bool     // a version is published although it can't be deployed
}

// PushOutcome is what became of one ref, or would.
type PushOutcome struct {
	Changed     bool            // false when all was there before
	Application ApplicationName // that the dispatcher works on now, "" for packages
	Ref         string          // the server's own name of the ref that moved
	Notes       []string        // sentences for the person who pushes
}
