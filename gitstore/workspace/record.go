package workspace

import (
	"context"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// patience is how long who asks waits for changes that are about to land.
const patience = 10 * time.Second

// settled is the number of the newest outcome there is, up to which the record is
// complete, so that who was told of an outcome gets it. Numbers of what is not recorded
// may be given again after a start, so a workspace never stands on one.
func (ws *Workspaces) settled(ctx context.Context) (uint64, error) {
	newest := ws.Index.NewestOutcome()
	if newest > 0 && ws.Told.Told() < newest {
		inner, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := ws.Told.Wait(inner, newest-1); err != nil {
			return 0, dm.Errorf(dm.Unavailable, "workspace.Bring", "a change is being recorded").WithHint("try again").Because(err)
		}
	}
	return newest, nil
}

// changedSince implements past.
func (ws *Workspaces) changedSince(seq uint64) []dm.ApplicationName {
	if ws.Index.NewestOutcome() <= seq {
		return nil
	}
	return ws.Index.Names(func(e *index.Application) bool { return e.ObservedSeq > seq })
}

// reaching implements past.
func (ws *Workspaces) reaching(u dm.UserName, groups []string, seq uint64) []dm.ApplicationName {
	return ws.Index.Names(func(e *index.Application) bool {
		if e.ObservedSeq > seq {
			return true // what was before, the index does not say
		}
		return !e.Effective.Commit.IsZero() && dm.Reaches(e.Effective.Spec.Receivers(), u, groups)
	})
}

// timelineOf implements past.
func (ws *Workspaces) timelineOf(app dm.ApplicationName, seq uint64) (*timeline, error) {
	r := repo.Application(app)
	if err := ws.Service.Sound(r); err != nil {
		return nil, err
	}
	e := ws.Index.Application(app)
	if e == nil || e.Observed == nil {
		return &timeline{}, nil
	}
	t, err := ws.timeline(app, e, seq)
	if err != nil {
		ws.Service.Suspect(r)
	}
	return t, err
}

// away are the applications out of service, in byte order.
func (ws *Workspaces) away() (apps []dm.ApplicationName) {
	for _, r := range ws.Service.AwayOf(dm.ApplicationRepository) {
		apps = append(apps, dm.ApplicationName(r.Name))
	}
	slices.SortFunc(apps, func(a, b dm.ApplicationName) int { return strings.Compare(string(a), string(b)) })
	return apps
}
