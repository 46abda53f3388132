package gitstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// saw notes a number that a repository carries.
func (s *Store) saw(r dm.Repository, seq uint64) {
	if s.told.Saw(r, seq) {
		s.past.forget() // it may lack those of r
	}
}

// beginNumbers lets the sequence go on behind what the record has. When a
// repository can't be read nobody knows its newest numbers; those of a clock in
// milliseconds are above them, also when the last start was such a one.
func (s *Store) beginNumbers() {
	if len(s.service.AwayOf(dm.PackageRepository))+len(s.service.AwayOf(dm.ApplicationRepository)) > 0 {
		s.told.Begin(uint64(max(0, s.Clock().UnixMilli())))
		return
	}
	s.told.Begin(0)
}

// tellPassing tells of what moved no ref: it takes a place in the order, and is
// forgotten with the process.
func (s *Store) tellPassing(e dm.Event) { s.told.Reserve().Land(e) }

func packageEvent(id string, p dm.Phase, information string, stamp dm.Stamp) dm.Event {
	return dm.Event{Kind: dm.PackageEvent, ID: id, State: p, Information: information, Stamp: stamp}
}

// changeEvent is that of a change, or of its outcome.
func changeEvent(c form.Change, stamp dm.Stamp) dm.Event {
	return dm.Event{
		Kind: dm.ApplicationEvent, ID: string(c.Spec.Name), State: dm.WorkingPhase(stamp.Verb, c.Spec.State), Owner: c.Spec.Owner, Stamp: stamp,
	}
}

// Newest implements dm.Events.
func (s *Store) Newest() uint64 { return s.told.Newest() }

// Events implements dm.Events.
func (s *Store) Events(ctx context.Context, after uint64, most int) ([]dm.Event, error) {
	const op = "gitstore.Events"
	if after > s.told.Told() {
		return nil, dm.Errorf(dm.Invalid, op, "there is no event %d yet, the newest is %d", after, s.Newest()).
			WithHint("start again at the newest: the server's data may have been restored from a copy")
	}
	for {
		list, next, err := s.readTold(ctx, after, most)
		if err != nil || len(list) > 0 {
			return list, repo.Failed(op, err)
		}
		if err := s.told.Wait(ctx, next); err != nil {
			return nil, err
		}
		after = next
	}
}

// readTold returns what there is now; when that is nothing, next is the number
// to wait behind.
func (s *Store) readTold(ctx context.Context, after uint64, most int) (list []dm.Event, next uint64, err error) {
	list, from := s.told.Read(after, most)
	if after >= from {
		return list, after, nil
	}
	list, next, err = s.earlier(ctx, after, from, most)
	if err == nil && len(list) == 0 {
		return s.readTold(ctx, next, most)
	}
	return list, next, err
}

// Concerns implements dm.Events.
func (s *Store) Concerns(e dm.Event) dm.Resource {
	on := dm.Resource{Name: e.ID}
	if e.Kind == dm.ApplicationEvent {
		if entry := s.index.Application(dm.ApplicationName(e.ID)); entry != nil {
			spec := entry.Current().Spec
			on.Owner, on.Audience = spec.Owner, spec.Audience
		}
		return on
	}
	if ref, err := dm.ParsePackageRef(e.ID); err == nil {
		on.Name, on.Owner = string(ref.Name), s.PackageOwner(ref.Name)
	}
	return on
}

// cursorPath is the file of a cursor: its name may hold a secret.
func (s *Store) cursorPath(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(s.data.Dir, repo.CursorsDir, hex.EncodeToString(sum[:]))
}

// Cursor implements dm.Cursors.
func (s *Store) Cursor(name string) (seq uint64, ok bool, err error) {
	text, err := os.ReadFile(s.cursorPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, repo.Failed("gitstore.Cursor", err)
	}
	if seq, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63); err != nil {
		s.Log.Error("a cursor is damaged, and its reader begins anew", "file", s.cursorPath(name), "err", err)
	}
	return seq, err == nil, nil
}

// KeepCursor implements dm.Cursors.
func (s *Store) KeepCursor(name string, seq uint64) error {
	return repo.Failed("gitstore.KeepCursor", durable.WriteFile(s.cursorPath(name), []byte(strconv.FormatUint(seq, 10)+"\n")))
}

// tidyCursors removes what a killed server left of a cursor that it was writing.
func (s *Store) tidyCursors() error {
	half, err := filepath.Glob(filepath.Join(s.data.Dir, repo.CursorsDir, "*-*"))
	for _, path := range half {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
