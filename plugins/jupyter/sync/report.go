package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
	"golang.org/x/sys/unix"
)

const (
	pageName   = "SYNC.md"
	pageMarker = "# State of this folder"
)

// tell writes SYNC.md and the notes, and returns the line of how the run went.
func (r *run) tell(err error) string {
	line := r.summary(err)
	r.folder.Leave()
	if r.notes == nil {
		return line
	}
	r.notes.forget(r.folder)
	if err == nil && len(r.notes.failed) == 0 {
		r.notes.last = time.Now().UTC().Format("2006-01-02 15:04:05 UTC")
	}
	err = errors.Join(r.state.writeNotes(r.notes), r.page(line))
	if disk.Full(err) {
		line += " SYNC.md could not be written: " + cause(err, "") + "."
	}
	if r.disk.Owner != nil {
		_ = r.disk.Adopt(filepath.Join(r.path, ".git"), true) // what git made
	}
	return line
}

// summary is the line.
func (r *run) summary(err error) string {
	done := r.counted()
	switch {
	case err == nil && len(r.notes.failed) == 0:
		return "up to date" + done + "."
	case r.full != nil || disk.Full(err):
		if r.full == nil {
			r.full = err
		}
		line := cause(r.full, "") + ", and what is there stays as it is"
		if r.missing > 0 {
			line += "; " + bytesText(r.missing) + " are missing for what is new"
		}
		return line + done + ". Make room, then restart your notebook server."
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		if r.base != nil && r.total > len(r.base.files) {
			return fmt.Sprintf("%s So far %d of %d files are dealt with; the next start goes on from there.", stopped, len(r.base.files), r.total)
		}
		return stopped
	case err == nil:
		return fmt.Sprintf("not everything could be done: %s could not be brought, see SYNC.md; the next start tries again%s.", files(len(r.notes.failed)), done)
	}
	why := remote.Reason(err)
	var gone *remote.ObjectError
	if errors.Is(err, remote.ErrTooMany) {
		why = remote.ErrTooMany.Error()
	} else if errors.As(err, &gone) {
		why = "what was fetched can not be read"
	}
	if why == "" {
		why = cause(err, "the folder can not be read or written")
	}
	return "nothing was done, because " + why + "."
}

// counted tells what came.
func (r *run) counted() (text string) {
	for _, c := range []struct {
		n    int
		what string
	}{{r.counts[put], "new"}, {r.counts[swap], "updated"}, {r.counts[drop], "removed"}} {
		if c.n > 0 {
			text += fmt.Sprintf("; %d %s", c.n, c.what)
		}
	}
	if r.counts[beside] > 0 {
		text += "; some of your files were kept, see SYNC.md"
	}
	return text
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprint(n, " files")
}

func bytesText(n int64) string {
	if n < 10_000_000 {
		return fmt.Sprintf("%d kB", (n+999)/1000)
	}
	return fmt.Sprintf("%d MB", (n+999_999)/1_000_000)
}

// page writes SYNC.md, unless the user has something of that name.
func (r *run) page(line string) error {
	root := r.folder.Root
	if st, err := root.Stat(pageName); !errors.Is(err, fs.ErrNotExist) && (err != nil || st.Size > 0 || st.Mode&unix.S_IFMT != unix.S_IFREG) { // an empty one is what a power cut leaves
		mine := state{Dir: root}
		lines, err := mine.read(pageName)
		if err != nil || len(lines) == 0 || lines[0] != pageMarker {
			return nil
		}
	}
	return r.state.write(root, pageName, r.pageLines(line), false)
}

func (r *run) pageLines(line string) []string {
	lines := []string{
		pageMarker, "", "This file is written anew each time that this folder is brought up to date.", "",
		time.Now().UTC().Format("Last tried: 2006-01-02 15:04:05 UTC"), "", line,
	}
	if !strings.HasPrefix(line, "up to date") {
		lines = append(lines, "", "Your files are as you left them. The folder was last brought up to date: "+cmp.Or(r.notes.last, "never")+".")
	}
	section := func(title, text string, items []string) {
		if len(items) > 0 {
			lines = append(lines, "", "## "+title, "", text, "")
			for _, item := range items {
				lines = append(lines, "- "+item)
			}
		}
	}
	section("Kept as you left them", "You changed these files, or they were here first. What the server has lies beside them.",
		itemsOf(r.notes.kept, func(path, copy string) string { return quoted(path) + ": the delivered version is in " + quoted(copy) }))
	section("Saved while a new version came", "You saved these files at that moment, and they could not be put back. Take them from there.", r.keptFiles())
	section("Could not be brought", "The next start tries these files again. All others are up to date.",
		itemsOf(r.notes.failed, func(path string, err error) string { return quoted(path) + ": " + fileReason(err) }))
	alone := func(path string, _ bool) string { return quoted(path) }
	section("No longer delivered", "The server removed these files. You had changed them, so they stay and are yours now.", itemsOf(r.notes.own, alone))
	section("Deleted by you", "The server has a new version of these files. You deleted them, so they stay away.", itemsOf(r.notes.away, alone))
	section("Not delivered", "The names of these files are not supported here.", itemsOf(r.notes.strange, alone))
	if r.notes.branch != "" {
		lines = append(lines, "", "## Your git branch", "", r.notes.branch)
	}
	return append(lines, r.advice()...)
}

// keptFiles are those that were saved and could not be given back.
func (r *run) keptFiles() (list []string) {
	names, _ := r.state.Names() // told at the next run
	for _, name := range slices.Sorted(slices.Values(names)) {
		if strings.HasPrefix(name, keptPrefix) {
			list = append(list, quoted(filepath.Join(r.state.path, name)))
		}
	}
	return list
}

// advice is how a person does it again, in the folder as it is.
func (r *run) advice() []string {
	again := r.Getenv(envAgain)
	if again == "" {
		again, _ = os.Executable()
	}
	lines := []string{"", "## To do it again", "", "Run `" + again + "` in a terminal, or restart your notebook server."}
	if r.clone == nil || r.notes.branch != "" {
		return lines
	}
	git := "git"
	if st, err := r.folder.Root.Stat("."); err == nil && int(st.Uid) != unix.Geteuid() {
		git = "git -c safe.directory='*'" // of a folder that another user owns git reads nothing
	}
	return append(lines, "To get the delivered version of a file back, run `"+git+" checkout origin/main -- FILE` in this folder.",
		"It takes the place of yours: rename yours first if you want to keep it.")
}

func itemsOf[V any](all map[string]V, text func(string, V) string) (items []string) {
	for _, path := range slices.Sorted(maps.Keys(all)) {
		items = append(items, text(path, all[path]))
	}
	return items
}

// quoted is a path in a page: what a terminal would obey is spelled out.
func quoted(path string) string {
	if remote.Deliverable(path) || strings.HasPrefix(path, ".deployment-manager/") && remote.Deliverable("x"+path) {
		return "`" + path + "`"
	}
	return fmt.Sprintf("`%+q`", path)
}

// fileReason is why one file was not brought.
func fileReason(err error) string {
	switch {
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return "its folder, or the file, may not be changed or read (permission denied)"
	case errors.Is(err, unix.ENAMETOOLONG):
		return "its name, or the name of the copy beside it, is too long for this disk"
	case errors.Is(err, disk.ErrChanging):
		return "it was changed at the same moment"
	case errors.Is(err, unix.EROFS):
		return "the disk is read-only"
	case errors.Is(err, unix.EDQUOT):
		return "your quota is used up"
	case disk.Full(err):
		return "the disk is full"
	}
	return fmt.Sprintf("%+q", err.Error())
}

// needed is how many bytes what is new takes more than the disk has, as far as a
// temporary folder on another disk can tell; 0 when it can't.
func (r *run) needed(ctx context.Context) int64 {
	aside, err := os.MkdirTemp("", "deployment-manager-sync-")
	if err != nil {
		return 0
	}
	defer os.RemoveAll(aside)
	there := *r.remote
	there.Git.Env = append(slices.Clone(there.Git.Env), "GIT_OBJECT_DIRECTORY="+aside, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+filepath.Join(r.remote.Git.Dir, "objects"))
	commit, err := there.Ask(ctx)
	if err != nil || there.FetchInto(ctx, "refs/deployment-manager/asked", "--dry-run") != nil {
		return 0
	}
	var sum int64
	_ = filepath.WalkDir(aside, func(_ string, entry fs.DirEntry, err error) error {
		if info, err := entry.Info(); err == nil && !entry.IsDir() {
			sum += info.Size()
		}
		return err
	})
	o, err := there.Objects(ctx)
	if err != nil {
		return 0
	}
	defer o.Close()
	theirs, err := o.CommitTree(commit)
	if err != nil {
		return 0
	}
	return sum + there.Bytes(ctx, r.pending(theirs)) - r.free()
}

// pending are the contents that the base has not.
func (r *run) pending(theirs *remote.Tree) (list []remote.Blob) {
	for path, v := range theirs.Files {
		if r.base == nil || r.base.files[path] != v {
			list = append(list, v.Blob)
		}
	}
	return list
}

// free is the room that the disk has.
func (r *run) free() int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(r.path, &st); err != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}
