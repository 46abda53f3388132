package repair

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// How long a repository waits for the next look: each look that brings nothing
// doubles the time. What was proved to be damaged changes only when somebody
// mends it, and a look at it reads all of it.
const (
	firstLook     = time.Second
	lastLook      = 30 * time.Second
	firstLookSick = 30 * time.Second
	lastLookSick  = 10 * time.Minute
)

// again is the list of repositories that are to be looked at again: those out
// of service, and those in service of which a check could not be made.
type again struct {
	mu  sync.Mutex
	due map[dm.Repository]*appointment
}

type appointment struct {
	at   time.Time
	wait time.Duration // from the last look to this one
	fsck bool          // the objects are to be read as well, not the heads alone
}

func newAgain() *again { return &again{due: map[dm.Repository]*appointment{}} }

// ask makes an appointment after wait, unless there is an earlier one.
func (a *again) ask(r dm.Repository, wait time.Duration) { a.book(r, wait, false) }

// askFsck asks for a look at every object as well.
func (a *again) askFsck(r dm.Repository) { a.book(r, firstLook, true) }

func (a *again) book(r dm.Repository, wait time.Duration, fsck bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := time.Now().Add(wait)
	old := a.due[r]
	if old == nil {
		a.due[r] = &appointment{at, wait, fsck}
		return
	}
	old.fsck = old.fsck || fsck
	if at.Before(old.at) {
		old.at, old.wait = at, wait
	}
}

// now returns what is due.
func (a *again) now() (due []dm.Repository) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for r, d := range a.due {
		if !d.at.After(now) {
			due = append(due, r)
		}
	}
	return due
}

// of returns the appointment of a repository, nil when there is none.
func (a *again) of(r dm.Repository) *appointment {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := a.due[r]; d != nil {
		c := *d
		return &c
	}
	return nil
}

// later doubles the time to the next look, between least and most.
func (a *again) later(r dm.Repository, least, most time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := a.due[r]; d != nil {
		d.wait = min(max(least, 2*d.wait), most)
		d.at = time.Now().Add(d.wait)
	}
}

func (a *again) done(r dm.Repository) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.due, r)
}

// LookAgain works until ctx ends: what could not be read, and what was set
// aside, is looked at again and again, and comes back by itself when it is
// sound. It also answers who asks for a repair, see Ask.
func (s *Service) LookAgain(ctx context.Context) error {
	ticker := time.NewTicker(firstLook)
	defer ticker.Stop()
	for {
		for _, r := range s.again.now() {
			if ctx.Err() != nil {
				return nil
			}
			s.lookAt(ctx, r)
		}
		s.answerQuestions(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// lookAt looks at a repository whose time has come.
func (s *Service) lookAt(ctx context.Context, r dm.Repository) {
	d := s.again.of(r)
	if d == nil {
		return
	}
	o, away := s.why(r)
	var err error
	switch {
	case away:
		err = s.lookAway(ctx, r, o)
	default:
		err = s.lookServed(ctx, r, d.fsck)
	}
	if err != nil && ctx.Err() != nil {
		return // says nothing about the repository
	}
	least, most := firstLook, lastLook
	if f := repo.Proof(err); f != nil && r.Kind != dm.WorkspaceRepository {
		least, most = firstLookSick, lastLookSick
	} else if err != nil {
		s.Log.Warn("a repository could not be checked", "kind", r.Kind, "name", r.Name, "err", err)
	}
	if _, away := s.why(r); err == nil && !away {
		s.again.done(r)
		return
	}
	s.again.later(r, least, most)
}

// lookAway looks at a repository out of service, and puts it into service when
// it is sound. Of one that was damaged every object is read.
func (s *Service) lookAway(ctx context.Context, r dm.Repository, o outOfService) error {
	release := s.Data.Hold(r)
	defer release()
	if _, err := os.Lstat(s.Data.Path(r)); errors.Is(err, fs.ErrNotExist) {
		if s.Data.MustBeThere(r) != nil {
			return s.takeAbsent(r, absentCause)
		}
		s.comeBack(r) // somebody has removed it
		return nil
	}
	var err error
	if o.fault != nil {
		if err = s.Data.Clean(ctx, s.Data.Path(r)); err == nil {
			err = s.fsck(ctx, r)
		}
	}
	if err == nil {
		err = s.read(ctx, r)
	}
	if err != nil {
		s.keepAway(ctx, r, o, err)
		return err
	}
	s.comeBack(r)
	s.Log.Info("a repository is in service again", "kind", r.Kind, "name", r.Name)
	_ = s.Record.Resume(r) // a later look sees
	return nil
}

// keepAway notes what the last look found. A look that could not be made leaves
// the reason from before.
func (s *Service) keepAway(ctx context.Context, r dm.Repository, o outOfService, err error) {
	f := repo.Proof(err)
	switch {
	case ctx.Err() != nil:
		s.takeAway(r, o) // reading had filled the index
	case f == nil && o.fault != nil:
		s.takeAway(r, o)
	case f == nil:
		s.takeAway(r, outOfService{err: err, since: o.since})
	case o.fault != nil && *f == *o.fault:
		s.takeAway(r, o)
	default:
		s.setAside(r, f)
	}
}

// lookServed makes the check of a repository in service that could not be made.
func (s *Service) lookServed(ctx context.Context, r dm.Repository, fsck bool) error {
	release := s.Data.Hold(r)
	err := s.readServed(ctx, r)
	release()
	if err != nil || !fsck || !repo.Exists(s.Data.Path(r)) {
		return err
	}
	return s.inspect(ctx, r)
}

// readServed reads the heads of a repository in service again. What is proved to
// be damaged is set aside; what could not be read goes on from the index. The
// caller holds the repository's lock.
func (s *Service) readServed(ctx context.Context, r dm.Repository) error {
	if _, err := os.Lstat(s.Data.Path(r)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := s.read(ctx, r)
	if f := repo.Proof(err); f != nil {
		s.setAside(r, f)
		s.again.ask(r, firstLook)
	}
	if err != nil {
		return err
	}
	return s.Record.Resume(r)
}

// ReadFirst reads one repository at the start. What was set aside before is read
// beside the running server. It fails only when the start is broken off, which
// says nothing about a repository.
func (s *Service) ReadFirst(ctx context.Context, r dm.Repository) error {
	if _, away := s.why(r); away {
		return nil
	}
	err := s.read(ctx, r)
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if f := repo.Proof(err); f != nil {
		s.setAside(r, f)
	} else {
		s.Log.Error("a repository cannot be read and is tried again", "kind", r.Kind, "name", r.Name, "err", err)
		s.takeAway(r, outOfService{err: err, since: s.Clock().UTC()})
	}
	s.again.ask(r, firstLook)
	return nil
}

// read is Record.Recover with a second opinion about what made it fail: the
// error is a fault only when the bytes prove it, and the record has nothing to
// mend it from. The caller holds the repository's lock, or is alone.
func (s *Service) read(ctx context.Context, r dm.Repository) error {
	look := func() error { return Confirm(s.Data.Path(r), s.Record.Recover(ctx, r)) }
	return s.mended(ctx, r, look(), look)
}

// Heal brings a repository and the index together after a ref could not be
// moved: git may have moved it all the same, or have died and left its lock.
// Without that, every later change would fail until the next start. A change of
// an application that was made all the same is carried out now. A repository
// that can't be read now stays in service and is read a moment later. The caller
// holds the repository's lock, so no git works there.
func (s *Service) Heal(ctx context.Context, r dm.Repository) {
	err := s.readServed(context.WithoutCancel(ctx), r)
	if err == nil || repo.Proof(err) != nil {
		return
	}
	s.Log.Error("a repository could not be read again after a failed change", "kind", r.Kind, "name", r.Name, "err", err)
	s.again.ask(r, firstLook)
}
