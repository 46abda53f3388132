package sync

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
	"golang.org/x/sys/unix"
)

// Config is where a run works.
type Config struct {
	Getenv func(string) string
	Stdout io.Writer                 // gets one line
	Stderr io.Writer                 // gets what is wrong with arguments
	Before func(change string) error // is told of each change of the disk before it is made, for tests; nil tells nobody
}

// The variables that a run reads, beside git's and the system's own.
const (
	envUser    = "JUPYTERHUB_USER"
	envAddress = "DM_GIT_URL"
	envFolder  = "DM_SYNC_FOLDER"
	envSeconds = "DM_SYNC_SECONDS"
	envAgain   = "DM_SYNC_AGAIN"
)

const defaultAddress = "http://deployment-manager-git:8099"

// run is one of them.
type run struct {
	Config
	disk    disk.Disk
	begun   time.Time
	seconds int
	path    string // of the folder
	folder  *disk.Folder
	state   *state
	remote  *remote.Repository
	clone   *clone // nil: .git is the user's own
	base    *manifest
	notes   *notes
	counts  map[action]int
	missing int64 // bytes that the disk has too few
	full    error // why nothing more could be written
	total   int   // files that the server has
}

// Run brings the folder up to date and tells how it went, in the folder's SYNC.md and
// in one line. It takes no longer than DM_SYNC_SECONDS.
func Run(c Config) {
	r := &run{Config: c, disk: disk.Disk{Before: c.Before}, begun: time.Now(), seconds: seconds(c.Getenv(envSeconds)), counts: map[action]int{}}
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE) // nobody reads the line: that ends nothing
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	limit := time.Duration(r.seconds) * time.Second
	ctx, cancel := context.WithDeadline(ctx, r.begun.Add(limit-1500*time.Millisecond))
	defer cancel()
	ended := make(chan string, 1)
	go func() {
		runtime.LockOSThread() // a git that this thread started ends with it
		ended <- r.work(ctx)
	}()
	line := stopped
	select {
	case line = <-ended:
	case <-time.After(limit): // the disk does not answer
	}
	_, _ = io.WriteString(c.Stdout, "apps-notebooks: "+line+"\n")
}

// seconds reads a limit of time, 5 at least.
func seconds(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 99999 {
		return 30
	}
	return max(n, 5)
}

const stopped = "it was stopped before it was done, because it took too long or was interrupted. Set DM_SYNC_SECONDS to give it more time."

// work is the run. It returns the line.
func (r *run) work(ctx context.Context) string {
	if !remote.HasGit() {
		return "nothing was done, because git is not installed."
	}
	if why := r.enter(); why != "" {
		return "nothing was done, because " + why + "."
	}
	address, url, why := target(r.Getenv)
	if why == "" {
		why = r.hold(ctx)
	}
	if why == "" {
		return r.tell(r.update(ctx, address, url))
	}
	return "nothing was done, because " + why + "."
}

// enter opens the folder, which it makes when it is missing.
func (r *run) enter() (why string) {
	path := r.Getenv(envFolder)
	if home := r.Getenv("HOME"); path == "" && home == "" {
		return "HOME is not set"
	} else if path == "" {
		path = filepath.Join(home, "apps-notebooks")
	}
	path, err := filepath.Abs(path)
	if err == nil {
		err = r.disk.Become(path)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o777)
	}
	if err != nil {
		return cause(err, "the folder can not be made or entered")
	}
	if err := os.Mkdir(path, 0o777); err == nil && r.disk.Owner != nil {
		_ = os.Lchown(path, r.disk.Owner.Uid, r.disk.Owner.Gid)
	} else if err != nil && !errors.Is(err, fs.ErrExist) {
		return cause(err, "the folder can not be made or entered")
	}
	// A link in place of the folder, or above it, is how some people arrange
	// their homes. Below it none is followed.
	if r.path, err = filepath.EvalSymlinks(path); err != nil {
		return cause(err, "the folder can not be made or entered")
	}
	root, err := disk.Open(&r.disk, r.path)
	if err != nil {
		return cause(err, "the folder can not be made or entered")
	}
	r.folder = &disk.Folder{Root: root}
	return ""
}

// hold opens the program's own files and takes the lock.
func (r *run) hold(ctx context.Context) (why string) {
	var err error
	if r.state, err = openState(&r.disk, r.folder.Root, r.path); err != nil {
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return "the place of the program's own files is a link or a file"
		}
		return cause(err, "the folder can not be written to. Is it read-only, or another user's?")
	}
	deadline, _ := ctx.Deadline()
	waiting, cancel := context.WithDeadline(ctx, deadline.Add(-time.Second))
	defer cancel()
	if err := r.state.acquire(waiting); err != nil {
		return cause(err, "the folder can not be written to")
	}
	return ""
}

// cause is what kept the run from its work: what the error says for sure, or else.
func cause(err error, otherwise string) string {
	switch {
	case errors.Is(err, errBusy):
		return errBusy.Error()
	case errors.Is(err, unix.EDQUOT):
		return "your quota is used up"
	case disk.Full(err):
		return "the disk of your home is full"
	case errors.Is(err, unix.EROFS):
		return "the disk of your home is read-only"
	}
	return otherwise
}

// target reads the address and the name.
func target(getenv func(string) string) (address, url, why string) {
	user := getenv(envUser)
	switch {
	case user == "":
		return "", "", "JUPYTERHUB_USER is not set"
	case strings.Contains(user, "\n"):
		return "", "", "the user name has a line end"
	}
	if address = strings.TrimSuffix(getenv(envAddress), "/"); address == "" {
		address = defaultAddress
	}
	plain := strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://")
	odd := func(c rune) bool { return !alphanumeric(c) && !strings.ContainsRune("._~:/%[]-", c) }
	if _, rest, _ := strings.Cut(address, "://"); !plain || rest == "" || strings.ContainsFunc(address, odd) {
		return "", "", "DM_GIT_URL is no plain address"
	}
	url = address + "/jupyter-" + encoded(user)
	if strings.HasSuffix(url, ".git") {
		url += ".git" // the server takes one from the end
	}
	return address, url, ""
}

func alphanumeric(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// encoded is a name as a segment of a URL.
func encoded(name string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for _, c := range []byte(name) {
		if alphanumeric(rune(c)) || strings.IndexByte("._~-", c) >= 0 {
			out.WriteByte(c)
		} else {
			out.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return out.String()
}

// ---- Bringing the folder up to date ----------------------------------------

// update does the work. What it can't do for one file is in the notes; an error
// ended it.
func (r *run) update(ctx context.Context, address, url string) (err error) {
	if r.notes, err = r.state.readNotes(); err != nil {
		return err
	}
	if r.base, err = r.state.readManifest(); err != nil {
		return err
	}
	r.remote = remote.New(r.Getenv, r.state.path, address, url, r.seconds)
	if r.state.inGit() {
		if r.clone, err = newClone(r.Getenv, r.state, r.folder.Root, r.path, address, url, r.begun); err != nil {
			return err
		}
	}
	a := &apply{state: r.state, folder: r.folder, base: r.base, raced: map[string]bool{}, done: r.counts, failed: r.failed}
	if r.base != nil {
		if err := a.settleJournal(); err != nil {
			return err
		}
		clear(r.counts) // those are of a run that was killed
		if r.settled(r.remote.Fetched()) && r.remote.Unchanged(ctx, r.Getenv) {
			return nil
		}
	}
	if err := r.remote.Prepare(ctx); err != nil {
		return err
	}
	err = r.news(ctx, a)
	if err != nil && ctx.Err() == nil && r.remote.Mend(ctx) {
		err = r.news(ctx, a)
	}
	if err != nil && ctx.Err() != nil && !disk.Full(err) {
		return ctx.Err() // a git that was ended says something else
	}
	return err
}

// news fetches and brings what is new.
func (r *run) news(ctx context.Context, a *apply) error {
	if err := remote.Patiently(ctx, r.remote.Fetch); err != nil {
		if disk.Full(err) {
			r.missing = r.needed(ctx)
		}
		return err
	}
	new := r.remote.Fetched()
	if !r.settled(new) {
		if err := r.compare(ctx, a); err != nil {
			return err
		}
	}
	r.total = len(r.base.files)
	return nil
}

// settled tells whether an earlier run brought all of a commit, and the user's .git is
// there too.
func (r *run) settled(commit string) bool {
	return r.base != nil && r.base.complete && r.base.commit == commit && (r.clone == nil || r.clone.asLeft(commit))
}

// compare brings the folder to the server's commit.
func (r *run) compare(ctx context.Context, a *apply) error {
	o, err := r.remote.Objects(ctx)
	if err != nil {
		return err
	}
	defer o.Close()
	theirs, err := o.CommitTree(remote.FetchedRef)
	if err != nil {
		return err
	}
	r.total = len(theirs.Files)
	old := ""
	if r.base == nil {
		if r.base, err = r.adopt(ctx, o); err == nil {
			err = r.state.writeManifest(r.base, false) // a journal means nothing without
		}
		if a.base = r.base; err == nil {
			err = a.settleJournal() // of a manifest that was damaged
		}
	} else {
		old = r.base.commit
		err = r.pulled(ctx, o, theirs.Commit)
	}
	if err != nil {
		return err
	}
	r.notes.begin(theirs)
	r.base.complete = false
	a.base, a.content = r.base, o.Blob
	if err := r.rounds(ctx, a, theirs); err != nil {
		return err
	}
	if r.full != nil {
		r.missing = r.remote.Bytes(ctx, r.pending(theirs)) - r.free()
	}
	r.base.commit, r.base.complete = theirs.Commit, len(r.notes.failed) == 0
	if err := r.state.writeManifest(r.base, true); err != nil {
		return err
	}
	r.forgetShell(ctx)
	if r.clone != nil {
		isAncestor := func(of, is string) bool { return r.remote.IsAncestor(ctx, of, is) }
		r.notes.branch, err = r.clone.follow(ctx, old, theirs.Commit, isAncestor)
	}
	return err
}

// pulled takes into the base what the user pulled with git, which is then newer than
// what a run brought.
func (r *run) pulled(ctx context.Context, o *remote.Objects, new string) error {
	if r.clone == nil || r.clone.asLeft(r.base.commit) {
		return nil
	}
	commit := r.clone.commit(ctx)
	if commit == "" || commit == r.base.commit || !r.remote.IsAncestor(ctx, commit, new) || r.base.commit != "" && !r.remote.IsAncestor(ctx, r.base.commit, commit) {
		return ctx.Err()
	}
	files, err := o.TreeOf(commit)
	if err != nil {
		return err
	}
	for path, v := range files {
		if v != r.base.files[path] && r.folder.Look(path).Is(v.Blob) {
			r.base.files[path] = v
		}
	}
	for path := range r.base.files {
		if _, has := files[path]; !has && r.folder.Look(path).Kind == disk.Absent {
			delete(r.base.files, path)
		}
	}
	return nil
}

// rounds goes through all files, and three times at most through those that somebody
// changed in between.
func (r *run) rounds(ctx context.Context, a *apply, theirs *remote.Tree) error {
	versions := map[string]string{}
	var only map[string]bool
	for range 3 {
		if err := r.round(ctx, a, theirs, only, versions); err != nil {
			return err
		}
		if only, a.raced = a.raced, map[string]bool{}; len(only) == 0 {
			return nil
		}
	}
	for path := range only {
		r.failed(path, disk.ErrChanging)
	}
	return nil
}

// round decides about each file that the server has not as an earlier run brought it.
// What goes, goes first: it may make room for what comes.
func (r *run) round(ctx context.Context, a *apply, theirs *remote.Tree, only map[string]bool, versions map[string]string) error {
	for path := range only {
		delete(r.notes.failed, path)
	}
	for _, has := range []bool{false, true} {
		from := r.base.files
		if has {
			from = theirs.Files
		}
		for _, path := range slices.Sorted(maps.Keys(from)) {
			v := theirs.Files[path]
			if (v != remote.Version{}) != has || r.base.files[path] == v || only != nil && !only[path] {
				continue
			}
			if err := r.one(ctx, a, path, v, theirs.Commit, versions); err != nil {
				return err
			}
		}
		if err := a.flush(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// one does what is to be done about one file.
func (r *run) one(ctx context.Context, a *apply, path string, v remote.Version, commit string, versions map[string]string) error {
	base, mine := r.base.files[path], r.folder.Look(path)
	switch what := decide(base, v, mine); what {
	case put, swap, drop:
		return a.do(ctx, change{action: what, path: path, of: path, old: base.Blob, new: v})
	case wait:
		r.failed(path, mine.Why)
		return nil
	case beside:
		return r.beside(ctx, a, path, v, mine, commit, versions)
	case own:
		r.notes.own[path] = true
	case away:
		r.notes.away[path] = true
	}
	r.brought(path, v)
	return nil
}

// brought notes in the base that the server's version of a file is dealt with.
func (r *run) brought(path string, v remote.Version) {
	if v == (remote.Version{}) {
		delete(r.base.files, path)
	} else {
		r.base.files[path] = v
	}
}

// beside puts the server's version next to a file that stays as the user left it. A
// copy that is there already, unchanged, is not written again; one that the user
// changed stays, and the new one gets a number.
func (r *run) beside(ctx context.Context, a *apply, path string, v remote.Version, mine disk.Found, commit string, versions map[string]string) error {
	application, _, inside := strings.Cut(path, "/")
	if !inside {
		application = ""
	}
	if versions[application] == "" {
		versions[application] = r.remote.PackageVersion(ctx, application, commit)
	}
	for number := 1; number < 100; number++ {
		name := copyName(path, mine.At, versions[application], number)
		switch there := r.folder.Look(name); {
		case there.Kind == disk.Absent:
			r.notes.kept[path] = name
			return a.do(ctx, change{action: beside, path: name, of: path, new: v})
		case there.Is(v.Blob):
			r.notes.kept[path] = name
			r.brought(path, v)
			return nil
		case there.Kind == disk.Unreadable:
			r.failed(path, there.Why)
			return nil
		}
	}
	r.failed(path, errOften)
	return nil
}

// failed notes why a file was not brought.
func (r *run) failed(path string, err error) {
	if disk.Full(err) {
		r.full = err
	}
	r.notes.failed[path] = err
}
