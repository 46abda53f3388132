package sync

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"
)

// settleJournal finds out which changes of the journal were made, takes them into
// the manifest, and gives back what somebody saved in that moment. It is the end of
// each batch, and what the run after one that was killed begins with.
func (a *apply) settleJournal() error {
	all, staged, err := a.readJournal()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return nil
	}
	a.folder.leave()
	fresh, err := a.needed(freshName)
	if err != nil {
		return err
	}
	defer fresh.close()
	for i, c := range all {
		name := strconv.Itoa(i)
		if i >= len(staged) || staged[i] != 'y' {
			_ = fresh.remove(name) // the part of it that was written
			continue
		}
		if a.settleChange(fresh, name, c) {
			a.done[c.action]++
			if c.action == drop {
				delete(a.base.files, c.of)
				a.folder.tidy(c.path)
			} else {
				a.base.files[c.of] = c.new
			}
		}
	}
	a.folder.leave()
	a.base.complete = false
	if err := a.writeManifest(a.base); err != nil {
		return err
	}
	return a.remove(journalName)
}

// settleChange tells whether a change was made. What an exchange or a move brought
// out of the user's folder is looked at here, after all others were made: what is
// not as an earlier run had brought it was saved by somebody, and goes back.
func (a *apply) settleChange(fresh dir, name string, c change) (made bool) {
	out, moved, there := fresh.look(name), fresh.look(name+before), a.folder.look(c.path)
	arrived := there.kind == file && there.blob == c.new.blob
	switch c.action {
	case put, beside:
		made = out.kind == absent || arrived
		if out.kind != absent {
			_ = fresh.remove(name)
		}
	case swap:
		switch {
		case moved.kind != absent: // a disk that knows no exchange
			placed := out.kind == absent || arrived
			_ = fresh.remove(name)
			if made = placed && moved.is(c.old); made || moved.is(c.old) && there.kind != absent {
				_ = fresh.remove(name + before)
			} else {
				a.giveBack(fresh, name+before, c)
			}
		case out.kind == absent, out.is(c.old):
			made = true
			_ = fresh.remove(name)
		case out.is(c.new.blob):
			_ = fresh.remove(name)
		default:
			a.giveBack(fresh, name, c)
		}
	case drop:
		made = out.is(c.old) || out.kind == absent && there.kind == absent
		if out.is(c.old) {
			_ = fresh.remove(name)
		} else if out.kind != absent {
			a.giveBack(fresh, name, c)
		}
	}
	return made
}

func (f found) is(b blob) bool { return f.kind == file && f.blob == b }

// giveBack puts somebody's file back to where it was. Ours that is there by now makes
// room; another one of somebody's stays, and the file goes beside it. Where even
// that can't be, it is kept among our own files, and told.
func (a *apply) giveBack(fresh dir, name string, c change) {
	a.raced[c.of] = true
	in, base, err := a.folder.parent(c.path, true)
	if err == nil {
		if ours := name + ".ours"; in.look(base).is(c.new.blob) && in.move(base, fresh, ours) == nil {
			if fresh.look(ours).is(c.new.blob) {
				_ = fresh.remove(ours)
			} else { // saved once more
				defer a.giveBack(fresh, ours, c)
			}
		}
		err = fresh.move(name, in, base)
	}
	for number := 1; err != nil && number < 100; number++ {
		at := ""
		var way *blocked
		if errors.As(err, &way) {
			at = way.at
		} else if !errors.Is(err, fs.ErrExist) {
			break
		}
		if in, base, err = a.folder.parent(copyName(c.path, at, "saved", number), true); err == nil {
			err = fresh.move(name, in, base)
		}
	}
	if err != nil {
		kept := fmt.Sprintf("saved-%d-%s", time.Now().Unix(), name)
		a.failed(c.path, errors.Join(err, fmt.Errorf("what was saved there at the same moment is kept as %s", kept), fresh.replace(name, a.dir, kept)))
	}
}
