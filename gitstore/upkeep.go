package gitstore

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// worth says from when on a part of the upkeep is worth its time.
type worth struct {
	refs  int // loose refs
	packs int // packs without a .keep file
}

// usually leaves alone what a few changes make.
var usually = worth{refs: 8, packs: 8}

// upkeep is what maintenance remembers and tells of itself.
type upkeep struct {
	mu sync.Mutex // one pass at a time

	runs    *prometheus.CounterVec
	tended  prometheus.Counter
	success prometheus.Gauge
}

func (u *upkeep) register(registry prometheus.Registerer) error {
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
func (u *upkeep) count(n int, err error, now time.Time) {
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

// Maintain goes over all repositories, one at a time, and under its lock brings
// each one's refs and packs together and prunes what no ref has led to for two
// weeks. Packs with a .keep file, which hold all uploaded and delivered content,
// stay as they are. Repositories in which there is little to do are passed over.
// Readers go on meanwhile; changes of the repository in hand wait. Kind
// Unavailable: some repositories could not be maintained, which the log names
// each with its cause; the others were.
func (s *Store) Maintain(ctx context.Context) error { return s.maintain(ctx, usually) }

func (s *Store) maintain(ctx context.Context, enough worth) error {
	const op = "gitstore.Maintain"
	s.upkeep.mu.Lock()
	defer s.upkeep.mu.Unlock()
	begin := time.Now()
	var n, left int
	var errs []error
	for _, kind := range s.data.Many() {
		err := s.data.Each(ctx, kind, func(r dm.Repository) error {
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
	errs = append(errs, s.data.TidyKnown())
	err := repo.Failed(op, errors.Join(errs...))
	if ctx.Err() == nil {
		s.upkeep.count(n, err, time.Now())
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
func (s *Store) tend(ctx context.Context, r dm.Repository, enough worth) (changed bool, err error) {
	if s.service.Sound(r) != nil {
		return false, nil
	}
	todo, err := s.look(r, enough)
	if err == nil && todo != (chores{}) {
		release := s.data.Hold(r)
		defer release()
		if s.service.Sound(r) != nil {
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
func (s *Store) look(r dm.Repository, enough worth) (todo chores, err error) {
	dir := s.data.Path(r)
	loose, err := repo.CountLooseRefs(dir)
	if err != nil {
		return todo, err
	}
	small, err := repo.CountSmallPacks(dir)
	if err != nil {
		return todo, err
	}
	if todo.main, err = s.owesMain(r); err != nil {
		return todo, err
	}
	todo.refs, todo.packs = loose >= enough.refs, small >= enough.packs
	if kindOf(r).atRest(s, r.Name) {
		cruft, err := filepath.Glob(filepath.Join(repo.PackDir(dir), "pack-*.mtimes"))
		if err != nil {
			return todo, err
		}
		todo.refs, todo.gather = loose > 0, small-len(cruft) > 1
	}
	todo.prune, err = repo.Prunable(dir, time.Now())
	return todo, err
}

// applicationAtRest tells of one that was destroyed, packageAtRest of one that was
// never published. There may be many of them, for ever, so they are made as small
// as git allows.
func (s *Store) applicationAtRest(name string) bool {
	e := s.index.Application(dm.ApplicationName(name))
	return e != nil && !e.Working() && e.Settled() == dm.NotCreated
}

func (s *Store) packageAtRest(name string) bool {
	e := s.index.Package(dm.PackageName(name))
	return e != nil && len(e.Versions) == 0
}

// owesMain tells whether main of a package is not where the index has it.
func (s *Store) owesMain(r dm.Repository) (bool, error) {
	if r.Kind != dm.PackageRepository {
		return false, nil
	}
	entry := s.index.Package(dm.PackageName(r.Name))
	if entry == nil {
		return false, nil
	}
	main, err := repo.ReadRef(s.data.Path(r), repo.Main)
	return main != entry.Main, err
}

// clear does it. The caller holds the repository's lock.
func (s *Store) clear(ctx context.Context, r dm.Repository, todo chores) error {
	dir := s.data.Path(r)
	if todo.main {
		name := dm.PackageName(r.Name)
		s.moveMain(ctx, name, s.index.Package(name).Main)
	}
	if todo.refs {
		if err := s.git.PackRefs(ctx, dir); err != nil {
			return err
		}
	}
	switch {
	case todo.gather:
		return s.git.Gather(ctx, dir)
	case todo.prune:
		return s.git.Prune(ctx, dir)
	case todo.packs:
		return s.git.RepackSmall(ctx, dir)
	}
	return nil
}
