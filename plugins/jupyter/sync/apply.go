package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
	"golang.org/x/sys/unix"
)

// change is one file that comes or goes.
type change struct {
	action action // put, swap, drop, or beside: put under another name
	path   string
	of     string      // the server's path; another one than path when it is put beside
	old    remote.Blob // what is there before: of swap and drop
	new    remote.Version
}

// A batch is written before the first of its files comes to its place.
const batchFiles, batchBytes = 256, 64 << 20

// apply makes changes, a batch at a time, and keeps the manifest. Each batch is noted
// in the journal before its first change, and looked through after its last one,
// by the same function that looks through one whose run was killed.
type apply struct {
	*state
	folder  *disk.Folder
	base    *manifest
	content func(remote.Blob, func(size int64, content io.Reader) error) error
	failed  func(path string, err error) // told of each file that did not come
	raced   map[string]bool              // files that somebody changed in between
	done    map[action]int
	stuck   error // why something can't be kept that somebody saved
	changes []change
	bytes   int64
}

// do makes a change, or keeps it for the next batch.
func (a *apply) do(ctx context.Context, c change) error {
	a.changes = append(a.changes, c)
	if len(a.changes) < batchFiles {
		return nil
	}
	return a.flush(ctx)
}

// flush makes the changes that were kept.
func (a *apply) flush(ctx context.Context) error {
	for len(a.changes) > 0 {
		if ctx.Err() != nil {
			a.changes = nil
			return ctx.Err()
		}
		rest, err := a.batch(ctx, a.changes)
		if a.changes = rest; err != nil {
			a.changes = nil
			return err
		}
	}
	return nil
}

// batch makes the first changes, as many as are not too large together.
func (a *apply) batch(ctx context.Context, all []change) (rest []change, err error) {
	if err := a.writeJournal(all); err != nil {
		return nil, err
	}
	fresh, err := a.Needed(freshName)
	if err != nil {
		return nil, err
	}
	defer fresh.Close()
	staged, n := make([]bool, len(all)), 0
	a.bytes = 0
	// What is staged must come to its place as well, and be judged, or a run that has
	// too little time for all of it would bring nothing, and so would the next one.
	until := time.Now().Add(time.Hour)
	if deadline, ok := ctx.Deadline(); ok {
		until = time.Now().Add(time.Until(deadline) / 3)
	}
	for ; n < len(all) && a.bytes < batchBytes && ctx.Err() == nil && (n == 0 || time.Now().Before(until)); n++ {
		if all[n].action == drop {
			staged[n] = true
			continue
		}
		err := a.stage(fresh, n, all[n])
		var gone *remote.ObjectError
		if errors.As(err, &gone) {
			return nil, errors.Join(err, a.settleJournal())
		}
		if staged[n] = err == nil; err != nil {
			a.failed(all[n].of, err)
		}
	}
	if err := a.mark(staged); err != nil {
		return nil, errors.Join(err, a.settleJournal())
	}
	for i := range all[:n] {
		if !staged[i] || ctx.Err() != nil {
			continue
		}
		if err := a.place(fresh, i, all[i]); errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			a.raced[all[i].of] = true
			a.failed(all[i].of, disk.ErrChanging)
		} else if err != nil {
			a.failed(all[i].of, err)
		}
	}
	return all[n:], a.settleJournal()
}

// stage writes the file under its number into the folder of our own. What a full disk
// took a part of only never leaves it.
func (a *apply) stage(fresh disk.Dir, number int, c change) error {
	name := strconv.Itoa(number)
	return a.content(c.new.Blob, func(size int64, content io.Reader) error {
		a.bytes += size
		mode := uint32(0o666)
		if c.new.Exec {
			mode = 0o777
		}
		f, err := fresh.Create(name, mode)
		if err != nil {
			return err
		}
		if c.action == swap {
			a.keepMode(f.Fd(), c)
		}
		_, err = io.Copy(f, content)
		err = errors.Join(err, a.May("write"), f.Close())
		if err != nil {
			err = errors.Join(err, fresh.Remove(name))
		}
		return err
	})
}

// keepMode gives the new file who may read and write the old one, as the user may
// have set it; whether it is a program the server says, when that is new.
func (a *apply) keepMode(fd uintptr, c change) {
	in, name, err := a.folder.Parent(c.path, false)
	if err != nil {
		return // place finds that out
	}
	if st, err := in.Stat(name); err == nil {
		mode := st.Mode & 0o777
		if c.new.Exec != a.base.files[c.of].Exec {
			mode &^= 0o111
			if c.new.Exec {
				mode |= mode & 0o444 >> 2 // who may read it may run it
			}
		}
		_ = unix.Fchmod(int(fd), mode) // shares know one mode only
	}
}

// place makes one change of the user's folder, in one moment where the disk can.
func (a *apply) place(fresh disk.Dir, number int, c change) error {
	in, name, err := a.folder.Parent(c.path, c.action == put || c.action == beside)
	var way *disk.Blocked
	if errors.As(err, &way) {
		return fs.ErrExist
	}
	if err != nil {
		return err
	}
	from := strconv.Itoa(number)
	switch c.action {
	case drop:
		return in.Move(name, fresh, from)
	case swap:
		if err := fresh.Exchange(from, in, name); err != errors.ErrUnsupported {
			return err
		}
		if err := in.Move(name, fresh, from+before); err != nil {
			return err
		}
	}
	return fresh.Move(from, in, name)
}

// before ends the name of what was moved away, where nothing can be exchanged.
const before = ".before"

// ---- The journal -----------------------------------------------------------

const stagedMark = "staged"

func (a *apply) writeJournal(all []change) error {
	lines := make([]string, 0, len(all))
	for _, c := range all {
		lines = append(lines, fmt.Sprintf("%c %s %s\t%s", actionLetters[c.action], c.old, entry(c.new, c.path), strconv.Quote(c.of)))
	}
	return a.write(a.Dir, journalName, lines, false) // mark has the disk keep it
}

// mark notes what is staged, and has the disk keep it: from here on a file that is
// not in our folder any more has come to its place.
func (a *apply) mark(staged []bool) error {
	if err := a.May("mark"); err != nil {
		return err
	}
	fd, err := unix.Openat(a.Fd, journalName, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	line := []byte(stagedMark + " ")
	for _, is := range staged {
		line = append(line, "ny"[map[bool]int{true: 1}[is]])
	}
	line = append(line, '\n')
	if n, err := unix.Write(fd, line); err != nil {
		return err
	} else if n < len(line) {
		return unix.ENOSPC // the disk took the part that there was room for
	}
	return unix.Syncfs(fd)
}

var errDamaged = errors.New("the journal can't be read")

// readJournal gives the changes that could have been made: none when the run ended
// before all was staged.
func (a *apply) readJournal() (all []change, staged string, err error) {
	lines, err := a.read(journalName)
	for _, line := range lines {
		head, of, ok := strings.Cut(line, "\t")
		if !ok {
			return all, strings.TrimPrefix(line, stagedMark+" "), err
		}
		c, ok := parseChange(head, of)
		if !ok {
			return nil, "", errDamaged
		}
		all = append(all, c)
	}
	return all, "", err
}

const actionLetters = "-pwdb"

func parseChange(head, of string) (c change, ok bool) {
	if len(head) < 44 {
		return c, false
	}
	c.action = action(max(0, strings.IndexByte(actionLetters, head[0])))
	old, ok1 := remote.ParseBlob(head[2:42])
	v, path, ok2 := parseEntry(head[43:])
	of, err := strconv.Unquote(of)
	c.old, c.new, c.path, c.of = old, v, path, of
	return c, ok1 && ok2 && err == nil
}
