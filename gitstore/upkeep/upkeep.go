package upkeep

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Worth says from when on a part of the upkeep is worth its time.
type Worth struct {
	Refs  int // loose refs
	Packs int // packs without a .keep file
}

// usually leaves alone what a few changes make.
var usually = Worth{Refs: 8, Packs: 8}

// Config says what Upkeep needs. All is required.
type Config struct {
	Data    *repo.Folder
	Service *repair.Service
	Log     *slog.Logger

	AtRest func(dm.Repository) bool             // nothing more is expected in it
	Owes   func(dm.Repository) (bool, error)    // it lacks a derived ref
	Settle func(context.Context, dm.Repository) // writes that ref; its lock is held
}

// Upkeep maintains all repositories. Its methods may be called from many goroutines.
type Upkeep struct {
	Config
	mu sync.Mutex // one pass at a time

	runs    *prometheus.CounterVec
	tended  prometheus.Counter
	success prometheus.Gauge
}

// New starts nothing.
func New(cfg Config) *Upkeep { return &Upkeep{Config: cfg} }

// Register shows what maintenance does.
func (u *Upkeep) Register(registry prometheus.Registerer) error {
	u.runs = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dm_maintenance_runs_total", Help: "Passes of maintenance over all repositories."}, []string{"outcome"})
	u.tended = prometheus.NewCounter(prometheus.CounterOpts{Name: "dm_maintenance_repositories_total", Help: "Repositories in which maintenance changed something."})
	u.success = prometheus.NewGauge(prometheus.GaugeOpts{Name: "dm_maintenance_last_success_timestamp_seconds", Help: "When maintenance last went over all repositories without an error."})
	for _, c := range []prometheus.Collector{u.runs, u.tended, u.success} {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	for _, outcome := range []string{"ok", "failed"} {
		u.runs.WithLabelValues(outcome)
	}
	return nil
}

// count records the end of a pass that changed n repositories.
func (u *Upkeep) count(n int, err error, now time.Time) {
	if u.runs == nil {
		return
	}
	u.tended.Add(float64(n))
	if err != nil {
		u.runs.WithLabelValues("failed").Inc()
		return
	}
	u.runs.WithLabelValues("ok").Inc()
	u.success.Set(float64(now.Unix()))
}

// Maintain goes over all repositories, one at a time, and under its lock brings
// each one's refs and packs together and prunes what no ref has led to for two
// weeks. Packs with a .keep file, which hold all uploaded and delivered content,
// stay as they are. Repositories in which there is little to do are passed over.
// Readers go on meanwhile; changes of the repository in hand wait. Kind
// Unavailable: some repositories could not be maintained, which the log names
// each with its cause; the others were.
func (u *Upkeep) Maintain(ctx context.Context) error { return u.MaintainFrom(ctx, usually) }

// MaintainFrom is Maintain, with what is worth its time.
func (u *Upkeep) MaintainFrom(ctx context.Context, enough Worth) error {
	const op = "upkeep.MaintainFrom"
	u.mu.Lock()
	defer u.mu.Unlock()
	begin := time.Now()
	var n, left int
	var errs []error
	for _, kind := range u.Data.Many() {
		err := u.Data.Each(ctx, kind, func(r dm.Repository) error {
			changed, err := u.tend(ctx, r, enough)
			if err != nil && ctx.Err() == nil {
				u.Log.Error("a repository could not be maintained", "kind", r.Kind, "name", r.Name, "err", err)
				left++
			}
			if changed {
				n++
			}
			return nil
		})
		errs = append(errs, err)
	}
	if left > 0 {
		errs = append(errs, dm.Errorf(dm.Unavailable, op, "%d repositories could not be maintained", left))
	}
	errs = append(errs, u.Data.TidyKnown())
	err := repo.Failed(op, errors.Join(errs...))
	if ctx.Err() == nil {
		u.count(n, err, time.Now())
	}
	if n > 0 {
		u.Log.Info("repositories maintained", "changed", n, "duration", time.Since(begin))
	}
	return err
}

// chores is what there is to do in a repository.
type chores struct {
	refs, packs, prune bool
	gather             bool // it is at rest: one file of refs and one pack are enough
	main               bool // of a package, which shows an earlier upload since it could not be moved
}

// tend maintains one repository and tells whether there was anything to do. It
// looks once without the lock, because mostly there is nothing, and once more
// with it, because a change or a repack may have come between.
func (u *Upkeep) tend(ctx context.Context, r dm.Repository, enough Worth) (changed bool, err error) {
	if u.Service.Sound(r) != nil {
		return false, nil
	}
	todo, err := u.look(r, enough)
	if err == nil && todo != (chores{}) {
		release := u.Data.Hold(r)
		defer release()
		if u.Service.Sound(r) != nil {
			return false, nil
		}
		if todo, err = u.look(r, enough); err == nil {
			err = u.clear(ctx, r, todo)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was set aside, or repacked, meanwhile; the next pass sees
	}
	return err == nil && todo != (chores{}), err
}

// look finds out what there is to do.
func (u *Upkeep) look(r dm.Repository, enough Worth) (todo chores, err error) {
	dir := u.Data.Path(r)
	loose, err := repo.CountLooseRefs(dir)
	if err != nil {
		return todo, err
	}
	small, err := repo.CountSmallPacks(dir)
	if err != nil {
		return todo, err
	}
	if todo.main, err = u.Owes(r); err != nil {
		return todo, err
	}
	todo.refs, todo.packs = loose >= enough.Refs, small >= enough.Packs
	if u.AtRest(r) {
		cruft, err := filepath.Glob(filepath.Join(repo.PackDir(dir), "pack-*.mtimes"))
		if err != nil {
			return todo, err
		}
		todo.refs, todo.gather = loose > 0, small-len(cruft) > 1
	}
	todo.prune, err = repo.Prunable(dir, time.Now())
	return todo, err
}

// clear does it. The caller holds the repository's lock.
func (u *Upkeep) clear(ctx context.Context, r dm.Repository, todo chores) error {
	dir := u.Data.Path(r)
	if todo.main {
		u.Settle(ctx, r)
	}
	if todo.refs {
		if err := u.Data.Git.PackRefs(ctx, dir); err != nil {
			return err
		}
	}
	switch {
	case todo.gather:
		return u.Data.Git.Gather(ctx, dir)
	case todo.prune:
		return u.Data.Git.Prune(ctx, dir)
	case todo.packs:
		return u.Data.Git.RepackSmall(ctx, dir)
	}
	return nil
}
