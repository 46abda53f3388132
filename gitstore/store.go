package gitstore

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/audit"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/engines"
	"github.com/pndaproject/deployment-manager/gitstore/events"
	"github.com/pndaproject/deployment-manager/gitstore/format"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/past"
	"github.com/pndaproject/deployment-manager/gitstore/receive"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/upkeep"
	"github.com/pndaproject/deployment-manager/gitstore/workspace"
)

// Config says what a Store needs.
type Config struct {
	Dir        string         // the data folder; made when missing; required
	LockWait   time.Duration  // how long Open waits for another process to leave Dir; 0 means not at all
	Git        string         // path of the git program, "" means the one in PATH
	GitLimits  gitcmd.Limits  // of all git processes together
	Planner    dm.Planner     // required
	Admission  dm.Admission   // required
	Readme     []byte         // README.ipynb of a workspace; required
	Programs   fs.FS          // where the programs for pods lie; nil leaves the repository of them as it is
	Replace    bool           // packages.versions: replace; otherwise versions are immutable
	Limits     archive.Limits // zero means archive.DefaultLimits()
	Places     gate.Places    // how many requests are worked on at once
	Filling    int64          // bytes that all changes being planned may hold; 0 means 256 MiB
	Bounds     index.Bounds   // zero means index.DefaultBounds()
	Earlier    format.Earlier // what happens to a folder of an earlier format
	SweepAfter time.Duration  // how long a workspace has been empty when maintenance takes it; 0 means that none is taken
	Pushes     dm.Pushes      // judges pushes; nil means that none are accepted
	Engines    dm.Engines     // asked about changes of content before they are accepted; nil means nobody

	// Team is under whose name, quota and rights what actor creates runs, "" for no
	// team; see dm.Spec. nil means that there are none.
	Team func(actor dm.Actor) (string, error)

	Wake       func(dm.ApplicationName) // called after a desired ref moved; nil means none
	Clock      func() time.Time         // nil means time.Now
	Log        *slog.Logger             // nil means silent
	Registerer prometheus.Registerer    // nil means none
	Step       func(name string)        // called at the named steps of the write protocol, see repo.Steps; nil means none
}

// Store is the record of one data folder.
type Store struct {
	Config
	data       *repo.Folder
	format     *format.Folder
	git        *gitcmd.Git
	lock       *os.File
	index      *index.Index
	service    *repair.Service
	workspaces *workspace.Workspaces
	*past.Answers
	*engines.Kept
	*index.Dispatched
	stream  *past.Stream
	cursors events.Cursors

	capabilities gitcmd.Remembered // git's answer to the first request of a fetch

	receiver *receive.Receiver

	planning *gate.Planning
	gates    gate.Gates
	disk     *repair.Probe
	defaults index.Defaults
	upkeep   *upkeep.Upkeep

	background sync.WaitGroup // looks at the disk
	stopping   context.CancelFunc
	alive      context.Context
}

var (
	_ dm.PackageStore     = (*Store)(nil)
	_ dm.DeployedStore    = (*Store)(nil)
	_ dm.ApplicationStore = (*Store)(nil)
	_ dm.WorkStore        = (*Store)(nil)
	_ dm.GitTransport     = (*Store)(nil)
	_ dm.Deliveries       = (*Store)(nil)
	_ dm.History          = (*Store)(nil)
	_ dm.Events           = (*Store)(nil)
	_ dm.Cursors          = (*Store)(nil)
	_ dm.KeptLogs         = (*Store)(nil)
)

// Open takes the data folder for this process and recovers it: stale locks and
// temporary files of a killed server are removed, every repository is read,
// derived refs are rebuilt, and repositories that are proved to be damaged are
// set aside. Those that could not be read are looked at again by repair.Service.LookAgain.
// Kinds: Conflict (another process owns the folder), Invalid (the folder, its
// format or git is not fit), Unavailable (the disk fails).
func Open(ctx context.Context, cfg Config) (*Store, error) {
	const op = "gitstore.Open"
	switch {
	case cfg.Dir == "":
		return nil, dm.Errorf(dm.Invalid, op, "no data folder is given")
	case cfg.Planner == nil || cfg.Admission == nil || len(cfg.Readme) == 0:
		return nil, dm.Errorf(dm.Internal, op, "the record needs a planner, an admission and a README")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Limits == (archive.Limits{}) {
		cfg.Limits = archive.DefaultLimits()
	}
	if cfg.Bounds == (index.Bounds{}) {
		cfg.Bounds = index.DefaultBounds()
	}
	if cfg.Step == nil {
		cfg.Step = func(string) {}
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	s := &Store{
		Config: cfg, index: index.New(), planning: gate.NewPlanning(cfg.Filling), gates: gate.NewGates(cfg.Places),
	}
	told := events.New()
	s.data = repo.New(ctx, repo.Config{
		Dir: dir, Kinds: folderKinds(), Told: told, Log: cfg.Log, Step: cfg.Step,
		Sound: func(r dm.Repository) error { return s.service.Sound(r) },
		Doubt: func(ctx context.Context, r dm.Repository) { s.service.Heal(ctx, r) },
		Late:  func(r dm.Repository) { s.service.LookSoon(r) },
	})
	s.format = &format.Folder{Data: s.data, Earlier: cfg.Earlier, LockWait: cfg.LockWait, Log: cfg.Log}
	s.service = repair.New(repair.Config{Data: s.data, Record: served{s}, Clock: cfg.Clock, Log: cfg.Log})
	s.Answers = past.NewAnswers(past.Config{
		Data: s.data, Service: s.service, Index: s.index, Told: told, Clock: cfg.Clock, Enter: s.gates.Readers.Enter,
	})
	s.Kept, s.Dispatched = engines.NewKept(s.data, s.service, s.index), index.NewDispatched(s.data, s.index)
	s.stream, s.cursors = past.NewStream(s.Answers), events.Cursors{Dir: filepath.Join(dir, repo.CursorsDir), Log: cfg.Log}
	s.upkeep = upkeep.New(upkeep.Config{
		Data: s.data, Service: s.service, Log: cfg.Log, AtRest: func(r dm.Repository) bool { return kindOf(r).atRest(s, r.Name) }, Owes: s.owesMain,
		Settle: func(ctx context.Context, r dm.Repository) {
			name := dm.PackageName(r.Name)
			s.moveMain(ctx, name, s.index.Package(name).Main)
		},
	})
	s.workspaces = workspace.New(workspace.Config{
		Data: s.data, Service: s.service, Index: s.index, Told: told, Readme: cfg.Readme, Most: cfg.Bounds.Workspaces, SweepAfter: cfg.SweepAfter,
		Clock: cfg.Clock, Log: cfg.Log,
	})
	s.receiver = receive.New(receive.Config{
		Folder: s.data, Record: pushed{s}, Pushes: cfg.Pushes, Limits: cfg.Limits, Look: cfg.Planner.Look, Enter: s.gates.Receiving.Enter,
	})
	s.disk = repair.NewProbe(filepath.Join(dir, repo.TmpDir), s.background.Go)
	s.alive, s.stopping = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// take makes the data folder and locks it. A folder that is refused is left as
// it was.
func (s *Store) take(ctx context.Context) error {
	const op = "gitstore.Open"
	if err := repair.Patiently(ctx, s.Log, "the data folder", s.format.Examine); err != nil {
		return err
	}
	var git *gitcmd.Git
	err := repair.Patiently(ctx, s.Log, "git", func() (err error) {
		git, err = gitcmd.New(ctx, gitcmd.Config{
			Path: s.Config.Git, HooksPath: filepath.Join(s.data.Dir, repo.HooksDir), Log: s.Log, Limits: s.GitLimits,
		})
		return err
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.data.Dir, 0o750); err != nil {
		return dm.Errorf(dm.Invalid, op, "the data folder cannot be made: %s", repo.Reason(err)).Because(err)
	}
	lock, err := s.format.Lock(ctx)
	if err != nil {
		return err
	}
	s.lock, s.git = lock, git.Holding(lock)
	s.data.Git = s.git
	return nil
}

// start brings the locked folder to order and fills the index.
func (s *Store) start(ctx context.Context) error {
	var found int
	err := repair.Patiently(ctx, s.Log, "the data folder", func() (err error) {
		found, err = s.prepare()
		return err
	})
	if err != nil {
		return err
	}
	err = repair.Patiently(ctx, s.Log, "the file "+repo.KnownFile, s.data.OpenKnown)
	if err != nil {
		return repo.Failed("gitstore.Open", err)
	}
	if err := s.registerMetrics(); err != nil {
		return dm.Wrap("gitstore.Open", err)
	}
	if err := s.format.Upgrade(found); err != nil {
		return err
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	s.stream.Begin()
	s.background.Go(func() { s.workspaces.KeepFetches(s.alive) })
	return nil
}

// prepare makes the folders of the data folder, empties what is temporary and
// returns the format. It may be done again.
func (s *Store) prepare() (format int, err error) {
	const op = "gitstore.Open"
	if format, err = s.format.Read(); err != nil {
		return format, err
	}
	folders := []string{filepath.Join(s.data.Dir, repo.CursorsDir), filepath.Join(s.data.Dir, repo.HooksDir)}
	for _, kind := range s.data.Many() {
		folders = append(folders, filepath.Join(s.data.Dir, string(kind)), s.service.DamagedDirOf(kind))
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return format, dm.Wrap(op, err)
		}
	}
	if err := s.data.EmptyTemporary(); err != nil {
		return format, dm.Wrap(op, err)
	}
	return format, dm.Wrap(op, errors.Join(s.cursors.Tidy(), s.service.ForgetQuestions(), durable.Sync(filepath.Join(s.data.Dir, repo.DamagedDir)), durable.Sync(s.data.Dir)))
}

// Close waits for maintenance and gives the data folder free. The caller has
// ended all other calls.
func (s *Store) Close() error {
	s.stopping()
	s.background.Wait()
	s.workspaces.Close()
	errs := []error{s.data.Close()}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Ready tells whether the record can be written: the data folder is there and
// takes files.
func (s *Store) Ready(ctx context.Context) error { return s.disk.Ready(ctx) }

// now is the time of a change, as its trailer and its commit record it.
func (s *Store) now() time.Time { return s.Clock().UTC() }

// stamp makes the record of who changes what, when and how.
func (s *Store) stamp(ctx context.Context, actor dm.Actor, verb dm.Verb) dm.Stamp {
	return dm.Stamp{
		Verb: verb, User: actor.User, Auth: actor.Auth, Via: actor.Via, Impersonator: actor.Impersonator, Reason: actor.Reason,
		Time: s.now(), RequestID: dm.RequestID(ctx),
	}
}

func (s *Store) wake(app dm.ApplicationName) {
	if s.Wake != nil {
		s.Wake(app)
	}
}

// Service tells and mends what is out of service.
func (s *Store) Service() *repair.Service { return s.service }

// Workspaces derives the repositories of users.
func (s *Store) Workspaces() *workspace.Workspaces { return s.workspaces }

// Receivers implements dm.Deliveries.
func (s *Store) Receivers(app dm.ApplicationName) (map[dm.UserName]dm.Fetch, error) {
	found, err := s.workspaces.Receivers(app)
	return found, repo.Failed("gitstore.Receivers", err)
}

// Verify proves the whole record, see audit.Verify.
func (s *Store) Verify(ctx context.Context, problem func(string)) error {
	a := &audit.Record{
		Data: s.data, Service: s.service, Index: s.index, Workspaces: s.workspaces, Clock: s.Clock,
		Of: func(r dm.Repository) func(*audit.Verifier, context.Context) { return kindOf(r).verify },
		Aside: func(ctx context.Context, r dm.Repository) {
			if r.Kind != dm.WorkspaceRepository {
				_ = served{s}.Recover(ctx, r) // why it is out of service was told
			}
		},
	}
	return a.Verify(ctx, problem)
}

// MaintainEvery runs Maintain and Sweep after each interval until ctx ends.
func (s *Store) MaintainEvery(ctx context.Context, interval time.Duration) error {
	if interval <= 0 {
		return dm.Errorf(dm.Invalid, "gitstore.MaintainEvery", "the time between two passes of maintenance must be above 0")
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := s.Maintain(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("maintenance skipped repositories", "err", err)
		}
		if err := s.workspaces.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("empty workspaces could not be swept", "err", err)
		}
		timer.Reset(interval) // from the end of a pass, so that a slow one does not follow itself
	}
}

// Maintain does what there is to do in every repository, see upkeep.Maintain.
func (s *Store) Maintain(ctx context.Context) error { return s.upkeep.Maintain(ctx) }
