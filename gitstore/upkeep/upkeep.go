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

// Usually leaves alone what a few changes make.
var Usually = Worth{Refs: 8, Packs: 8}

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
func (s *Upkeep) Register(registry prometheus.Registerer) error {
	s.runs = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dm_maintenance_runs_total", Help: "Passes of maintenance over all repositories."}, []string{"outcome"})
	s.tended = prometheus.NewCounter(prometheus.CounterOpts{Name: "dm_maintenance_repositories_total", Help: "Repositories in which maintenance changed something."})
	s.success = prometheus.NewGauge(prometheus.GaugeOpts{Name: "dm_maintenance_last_success_timestamp_seconds", Help: "When maintenance last went over all repositories without an error."})
	for _, c := range []prometheus.Collector{s.runs, s.tended, s.success} {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	for _, outcome := range []string{"ok", "failed"} {
		s.runs.WithLabelValues(outcome)
	}
	return nil
}

// count records the end of a pass that changed n repositories.
func (s *Upkeep) count(n int, err error, now time.Time) {
	if s.runs == nil {
		return
	}
	s.tended.Add(float64(n))
	if err != nil {
		s.runs.WithLabelValues("failed").Inc()
		return
	}
	s.runs.WithLabelValues("ok").Inc()
	s.success.Set(float64(now.Unix()))
}

// Maintain goes over all repositories, one at a time, and under its lock brings
// each one's refs and packs together and prunes what no ref has led to for two
// weeks. Packs with a .keep file, which hold all uploaded and delivered content,
// stay as they are. Repositories in which there is little to do are passed over.
// Readers go on meanwhile; changes of the repository in hand wait. Kind
// Unavailable: some repositories could not be maintained, which the log names
// each with its cause; the others were.
func (s *Upkeep) Maintain(ctx context.Context) error { return s.MaintainFrom(ctx, Usually) }

// MaintainFrom is Maintain, with what is worth its time.
func (s *Upkeep) MaintainFrom(ctx context.Context, enough Worth) error {
	const op = "upkeep.MaintainFrom"
	s.mu.Lock()
	defer s.mu.Unlock()
	begin := time.Now()
	var n, left int
	var errs []error
	for _, kind := range s.Data.Many() {
		err := s.Data.Each(ctx, kind, func(r dm.Repository) error {
			changed, err := s.tend(ctx, r, enough)
			if err != nil && ctx.Err() == nil {
				s.Log.Error("a repository could not be maintained", "kind", r.Kind, "name", r.Name, "err", err)
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
	errs = append(errs, s.Data.TidyKnown())
	err := repo.Failed(op, errors.Join(errs...))
	if ctx.Err() == nil {
		s.count(n, err, time.Now())
	}
	if n > 0 {
		s.Log.Info("repositories maintained", "changed", n, "duration", time.Since(begin))
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
func (s *Upkeep) tend(ctx context.Context, r dm.Repository, enough Worth) (changed bool, err error) {
	if s.Service.Sound(r) != nil {
		return false, nil
	}
	todo, err := s.look(r, enough)
	if err == nil && todo != (chores{}) {
		release := s.Data.Hold(r)
		defer release()
		if s.Service.Sound(r) != nil {
			return false, nil
		}
		if todo, err = s.look(r, enough); err == nil {
			err = s.clear(ctx, r, todo)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was set aside, or repacked, meanwhile; the next pass sees
	}
	return err == nil && todo != (chores{}), err
}

// look finds out what there is to do.
func (s *Upkeep) look(r dm.Repository, enough Worth) (todo chores, err error) {
	dir := s.Data.Path(r)
	loose, err := repo.CountLooseRefs(dir)
	if err != nil {
		return todo, err
	}
	small, err := repo.CountSmallPacks(dir)
	if err != nil {
		return todo, err
	}
	if todo.main, err = s.Owes(r); err != nil {
		return todo, err
	}
	todo.refs, todo.packs = loose >= enough.Refs, small >= enough.Packs
	if s.AtRest(r) {
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
func (s *Upkeep) clear(ctx context.Context, r dm.Repository, todo chores) error {
	dir := s.Data.Path(r)
	if todo.main {
		s.Settle(ctx, r)
	}
	if todo.refs {
		if err := s.Data.Git.PackRefs(ctx, dir); err != nil {
			return err
		}
	}
	switch {
	case todo.gather:
		return s.Data.Git.Gather(ctx, dir)
	case todo.prune:
		return s.Data.Git.Prune(ctx, dir)
	case todo.packs:
		return s.Data.Git.RepackSmall(ctx, dir)
	}
	return nil
}
