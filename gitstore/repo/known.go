package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// knownRefs is what the record knew of its refs: one line for each move of a ref
// that cannot be derived, in one file of the data folder. A line is written
// after the move is durable and is not made durable itself. So the file may lag
// behind the refs, by what a power cut takes from it, but it never tells of a
// value that a ref did not have: a ref that is missing, or that does not follow
// from what the file has, was changed by somebody else.
//
// A line has a checksum, the repository's folder, the ref and its value, zero
// for a ref that the server deleted. Lines stand alone: who removes something on
// purpose removes its lines as well.
type knownRefs struct {
	path  string
	kinds []Kind
	log   *slog.Logger

	mu    sync.Mutex
	file  *os.File
	end   int64 // where the next line goes
	lines int   // in the file, those that later ones replaced included
	refs  map[string][]KnownRef
}

// KnownRef is the last value that a ref of a repository is known to have had.
type KnownRef struct {
	Name string
	Hash plumbing.Hash
}

// openKnown reads the file of a data folder. Lines that a power cut left half
// written are passed over.
func openKnown(path string, kinds []Kind, log *slog.Logger) (*knownRefs, error) {
	w := &knownRefs{path: path, kinds: kinds, log: log, refs: map[string][]KnownRef{}}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	bad := 0
	for line := range bytes.Lines(text) {
		folder, ref, h, ok := parseKnown(string(line))
		if !ok {
			bad++
			continue
		}
		w.lines++
		w.set(folder, ref, h)
	}
	if bad > 0 {
		log.Warn("lines of "+KnownFile+" cannot be read and are skipped", "lines", bad)
	}
	if w.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o640); err != nil {
		return nil, err
	}
	w.end = int64(len(text))
	if bad > 0 || w.wasteful() {
		if err := w.rewrite(); err != nil {
			return nil, errors.Join(err, w.file.Close())
		}
	}
	return w, nil
}

// close ends writing.
func (w *knownRefs) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.file.Close()
}

func formatKnown(folder, ref string, h plumbing.Hash) string {
	text := folder + " " + ref + " " + h.String()
	return fmt.Sprintf("%08x %s\n", crc32.ChecksumIEEE([]byte(text)), text)
}

func parseKnown(line string) (folder, ref string, h plumbing.Hash, ok bool) {
	sum, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	want, err := strconv.ParseUint(sum, 16, 32)
	if !ok || err != nil || len(sum) != 8 || !strings.HasSuffix(line, "\n") || crc32.ChecksumIEEE([]byte(text)) != uint32(want) {
		return "", "", h, false
	}
	folder, rest, ok := strings.Cut(text, " ")
	ref, value, ok2 := strings.Cut(rest, " ")
	return folder, ref, plumbing.NewHash(value), ok && ok2 && plumbing.IsHash(value)
}

// set changes what is known. The caller holds the lock, or is alone.
func (w *knownRefs) set(folder, ref string, h plumbing.Hash) {
	switch ref { // all applications share the two names
	case Main:
		ref = Main
	case Observed:
		ref = Observed
	}
	list := w.refs[folder]
	for i := range list {
		if list[i].Name != ref {
			continue
		}
		if h.IsZero() {
			list = append(list[:i], list[i+1:]...)
		} else {
			list[i].Hash = h
		}
		break
	}
	if !h.IsZero() && !slices.ContainsFunc(list, func(k KnownRef) bool { return k.Name == ref }) {
		list = append(list, KnownRef{ref, h})
	}
	if len(list) == 0 {
		delete(w.refs, folder)
		return
	}
	w.refs[folder] = list
}

// of returns what is known of a repository.
func (w *knownRefs) of(folder string) []KnownRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]KnownRef(nil), w.refs[folder]...)
}

// folders returns every repository of a kind of which something is known.
func (w *knownRefs) folders(kind dm.RepositoryKind) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for folder := range w.refs {
		if filepath.Dir(folder) == string(kind) {
			list = append(list, filepath.Base(folder))
		}
	}
	return list
}

// tell notes the values of refs, zero for those that were deleted. The moves
// are durable. A line that can't be written is missing, which does no harm.
func (w *knownRefs) tell(folder string, moved Refs) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var text strings.Builder
	lines := 0
	for ref, h := range moved {
		if w.remembers(folder, ref) {
			text.WriteString(formatKnown(folder, ref, h))
			w.set(folder, ref, h)
			lines++
		}
	}
	if lines == 0 {
		return
	}
	// At its place, so that the next line goes over one that was cut off.
	if _, err := w.file.WriteAt([]byte(text.String()), w.end); err != nil {
		w.log.Warn("a ref update could not be noted in "+KnownFile, "err", err)
		return
	}
	w.end += int64(text.Len())
	w.lines += lines
}

// wasteLines is how many replaced lines the file may have, beside as many as it
// has others.
const wasteLines = 10_000

func (w *knownRefs) wasteful() bool {
	live := 0
	for _, list := range w.refs {
		live += len(list)
	}
	return w.lines-live > live+wasteLines
}

// tidy writes the file anew without the lines that later ones replaced, when
// there are many.
func (w *knownRefs) tidy() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.wasteful() {
		return nil
	}
	return w.rewrite()
}

// rewrite is durable: it replaces lines that are.
func (w *knownRefs) rewrite() error {
	var text bytes.Buffer
	lines := 0
	for folder, list := range w.refs {
		for _, r := range list {
			text.WriteString(formatKnown(folder, r.Name, r.Hash))
			lines++
		}
	}
	// What a killed server leaves there goes at the next start.
	aside := filepath.Join(filepath.Dir(w.path), TmpDir, KnownFile)
	err := durable.WriteFile(aside, text.Bytes())
	if err == nil {
		err = os.Rename(aside, w.path)
	}
	if err == nil {
		err = durable.Sync(filepath.Dir(w.path))
	}
	if err != nil {
		return err
	}
	file, err := os.OpenFile(w.path, os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	err = w.file.Close() // of what was replaced
	w.file, w.end, w.lines = file, int64(text.Len()), lines
	return err
}

// remembers tells whether a ref is one that nothing derives.
func (w *knownRefs) remembers(folder, ref string) bool {
	for _, k := range w.kinds {
		if folder == string(k.Name) || filepath.Dir(folder) == string(k.Name) {
			return k.Remembers(ref)
		}
	}
	return false
}

// OpenKnown reads the file known-refs of the locked folder.
func (f *Folder) OpenKnown() (err error) {
	f.known, err = openKnown(filepath.Join(f.Dir, KnownFile), f.Kinds, f.Log)
	return err
}

// Known is what is known of the refs of a repository.
func (f *Folder) Known(r dm.Repository) []KnownRef { return f.known.of(folderOf(r)) }

// KnownFolders are the folders, without their kind, of the repositories of a kind
// of which something is known.
func (f *Folder) KnownFolders(kind dm.RepositoryKind) []string { return f.known.folders(kind) }

// TidyKnown writes the file anew when most of it is out of date.
func (f *Folder) TidyKnown() error { return f.known.tidy() }

// MoveRefs moves refs of a repository in one transaction, and notes where they
// are. Changes move theirs by Tx.Land; this is for repairs.
func (f *Folder) MoveRefs(ctx context.Context, dir string, updates ...gitcmd.RefUpdate) error {
	if err := f.Git.UpdateRefs(ctx, dir, updates...); err != nil {
		return err
	}
	moved := Refs{}
	for _, u := range updates {
		moved[u.Ref] = plumbing.NewHash(u.New)
	}
	f.note(dir, moved)
	return nil
}

// note notes where refs of the repository in dir are.
func (f *Folder) note(dir string, moved Refs) {
	if folder, err := filepath.Rel(f.Dir, dir); err == nil {
		f.known.tell(filepath.ToSlash(folder), moved)
	}
}

// Adopt notes what the refs of a repository are, after a look that found no
// contradiction: what a power cut took from known-refs comes back, and a record
// of a time before the file gets one.
func (f *Folder) Adopt(r dm.Repository, heads Refs) {
	news := Refs{}
	for ref, h := range heads {
		news[ref] = h
	}
	for _, was := range f.Known(r) {
		if is := heads[was.Name]; is == was.Hash {
			delete(news, was.Name)
		} else {
			news[was.Name] = is
		}
	}
	f.known.tell(folderOf(r), news)
}

// MustBeThere fails when there is no repository in a place where one is known to be:
// a new one must not begin there.
func (f *Folder) MustBeThere(r dm.Repository) error {
	if len(f.Known(r)) == 0 {
		return nil
	}
	return dm.Errorf(dm.Unavailable, "write the record", "the repository of %s is missing", r.Name).
		WithHint("an administrator must restore it")
}
