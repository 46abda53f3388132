package sync

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
)

// settleJournal finds out which changes of the journal were made, takes them into
// the manifest, and gives back what somebody saved in that moment. It is the end of
// each batch, and what the run after one that was killed begins with. As long as
// the journal is there it judges the same again, however often it is killed; what
// lies in our folder without a journal is ours alone.
func (a *apply) settleJournal() error {
	all, staged, err := a.readJournal()
	if errors.Is(err, errDamaged) {
		err = a.setAside()
	}
	if err != nil {
		return err
	}
	a.folder.Leave()
	fresh, err := a.Needed(freshName)
	if err != nil {
		return err
	}
	defer fresh.Close()
	for i, c := range all {
		if i >= len(staged) || staged[i] != 'y' || !a.settleChange(fresh, strconv.Itoa(i), c) {
			continue
		}
		a.done[c.action]++
		if c.action == drop {
			delete(a.base.files, c.of)
			a.folder.Tidy(c.path)
		} else {
			a.base.files[c.of] = c.new
		}
	}
	a.folder.Leave()
	if len(all) > 0 {
		a.base.complete = false
		if err := a.writeManifest(a.base, true); err != nil {
			return err
		}
	}
	if err := a.stuck; err != nil {
		a.stuck = nil
		return err // the journal stays, and what it tells of
	}
	if err := a.Remove(journalName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fresh.Sweep()
}

// settleChange tells whether a change was made. What an exchange or a move brought
// out of the user's folder is looked at here, after all others were made: what is
// not as an earlier run had brought it was saved by somebody, and goes back.
func (a *apply) settleChange(fresh disk.Dir, name string, c change) (made bool) {
	out, moved, there := fresh.Look(name), fresh.Look(name+before), a.folder.Look(c.path)
	placed := out.Kind == disk.Absent || there.Is(c.new.Blob)
	switch {
	case c.action == put || c.action == beside:
		made = placed
	case c.action == drop:
		made = out.Is(c.old) && !there.Is(c.old) || out.Kind == disk.Absent && there.Kind == disk.Absent
		if out.Kind != disk.Absent && !out.Is(c.old) {
			a.giveBack(fresh, name, c)
		}
	case moved.Kind != disk.Absent: // swap on a disk that knows no exchange
		if made = placed && moved.Is(c.old); !made && (!moved.Is(c.old) || there.Kind == disk.Absent) {
			a.giveBack(fresh, name+before, c)
		}
	default: // swap
		if made = out.Kind == disk.Absent || out.Is(c.old); !made && !out.Is(c.new.Blob) {
			a.giveBack(fresh, name, c)
		}
	}
	if again := fresh.Look(name + ours); again.Kind != disk.Absent && !again.Is(c.new.Blob) {
		a.giveBack(fresh, name+ours, c) // saved once more, while something else was given back
	}
	// What was given back is not there any more to tell what came out.
	return made && fresh.Look(name+given).Kind == disk.Absent
}

// given ends the name of a file that tells that something was given back.
const given = ".given"

// ours ends the name of what was moved out of the way of somebody's file.
const ours = ".ours"

// giveBack puts somebody's file back to where it was. Ours that is there by now makes
// room; another one of somebody's stays, and the file goes beside it. Where even
// that can't be, it is kept among our own files, and told.
func (a *apply) giveBack(fresh disk.Dir, name string, c change) {
	a.raced[c.of] = true
	in, base, err := a.folder.Parent(c.path, true)
	if err == nil {
		there := in.Look(base)
		if there.Kind == disk.File && there == fresh.Look(name) {
			return // the move that brought it out had not ended
		}
		if f, err := fresh.Create(strings.TrimSuffix(strings.TrimSuffix(name, before), ours)+given, 0o666); err == nil {
			_ = f.Close() // it is empty
		}
		if there.Is(c.new.Blob) {
			_ = in.Move(base, fresh, strings.TrimSuffix(name, before)+ours)
		}
		err = fresh.Move(name, in, base)
	}
	for number := 1; err != nil && number < 100; number++ {
		at := ""
		var way *disk.Blocked
		if errors.As(err, &way) {
			at = way.At
		} else if !errors.Is(err, fs.ErrExist) {
			break
		}
		if in, base, err = a.folder.Parent(copyName(c.path, at, "saved", number), true); err == nil {
			err = fresh.Move(name, in, base)
		}
	}
	if err != nil {
		a.keep(fresh, name, c)
	}
}

// keptPrefix begins the names of what was saved and could not be given back.
const keptPrefix = "saved-"

// keep keeps somebody's file among our own, under a name that tells which it is.
func (a *apply) keep(fresh disk.Dir, name string, c change) {
	_, end := disk.Split(c.path)
	end = strings.ToValidUTF8(end[max(0, len(end)-100):], "")
	kept := ""
	for number := 1; kept == "" || a.Look(kept).Kind != disk.Absent; number++ {
		kept = fmt.Sprintf("%s%d.%d-%s", keptPrefix, time.Now().Unix(), number, end)
	}
	if err := fresh.Replace(name, a.Dir, kept); err != nil {
		a.stuck = err
	}
	a.done[beside]++
}

// setAside moves a journal that can't be read out of the way, with all that it may
// have told of.
func (a *apply) setAside() error {
	name := fmt.Sprint("damaged-", time.Now().UnixNano())
	if err := a.Replace(freshName, a.Dir, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.Replace(journalName, a.Dir, name+".journal")
}
