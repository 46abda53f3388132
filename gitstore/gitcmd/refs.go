package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// updateTimeout ends an update-ref that hangs. It is long: killing git while
// it commits can leave a stale lock.
const updateTimeout = 30 * time.Second

// RefUpdate is a compare-and-set of one ref.
type RefUpdate struct {
	Ref string // full name, refs/…
	Old string // the value it must have, 40 hexadecimal digits; "" when it must not exist
	New string // the value it gets; "" deletes it
	Any bool   // Old is not looked at
}

// UpdateRefs moves the refs of the repository dir in one transaction and
// returns when the move is durable. ctx only stops it from starting: once git
// runs it is left to finish, because a git that is killed in its commit phase
// leaves locks and half a transaction. git's transactions are not crash-atomic
// over several refs, so one change of the record is one ref.
//
// Kinds: Stale (a ref has another value than Old), Conflict (a name is a folder
// of another ref), Unavailable (a ref stayed locked, or ctx had ended),
// Invalid (not a ref name or object name).
func (g *Git) UpdateRefs(ctx context.Context, dir string, updates ...RefUpdate) error {
	const op = "gitcmd.UpdateRefs"
	if len(updates) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return dm.Errorf(dm.Unavailable, op, "the request ended before the ref was updated").Because(err)
	}
	in, err := transaction(updates)
	if err != nil {
		return err
	}
	folders := changedFolders(dir, updates)
	var out bytes.Buffer
	err = g.run(ctx, command{
		class: Moves, dir: dir, in: in, out: &out, args: []string{"update-ref", "--no-deref", "--stdin", "-z"}, writes: true, unbroken: true,
	})
	if err != nil {
		return refused(op, err)
	}
	if !strings.Contains(out.String(), "commit: ok") {
		return dm.Errorf(dm.Internal, op, "git did not confirm the ref update")
	}
	return fsyncFolders(dir, folders)
}

// transaction writes the script for update-ref --stdin -z.
func transaction(updates []RefUpdate) (*bytes.Buffer, error) {
	const op = "gitcmd.UpdateRefs"
	var b bytes.Buffer
	b.WriteString("start\x00")
	for _, u := range updates {
		if !strings.HasPrefix(u.Ref, "refs/") || strings.ContainsAny(u.Ref, "\x00\n") {
			return nil, dm.Errorf(dm.Invalid, op, "%q is not a full ref name", u.Ref)
		}
		for _, id := range []string{u.Old, u.New} {
			if _, err := dm.ParseRevision(id); id != "" && err != nil {
				return nil, err
			}
		}
		switch {
		case u.New == "" && u.Old == "" && !u.Any:
			return nil, dm.Errorf(dm.Invalid, op, "a ref that must not exist cannot be deleted")
		case u.New == "":
			fmt.Fprintf(&b, "delete %s\x00%s\x00", u.Ref, expected(u))
		case u.Old == "" && !u.Any:
			fmt.Fprintf(&b, "create %s\x00%s\x00", u.Ref, u.New)
		default:
			fmt.Fprintf(&b, "update %s\x00%s\x00%s\x00", u.Ref, u.New, expected(u))
		}
	}
	b.WriteString("prepare\x00commit\x00")
	return &b, nil
}

// expected is the old value in the script; empty means that any will do.
func expected(u RefUpdate) string {
	if u.Any {
		return ""
	}
	return u.Old
}

// refused finds the kind of a failed transaction in what git said. git gives
// no other sign, and the environment fixes its language.
func refused(op string, err error) error {
	if dm.KindOf(err) == dm.Unavailable {
		return dm.Wrap(op, err)
	}
	text := said(err)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
	}
	switch {
	case has("but expected", "reference already exists", "unable to resolve reference", "reference is missing"):
		return dm.Errorf(dm.Stale, op, "the ref was updated concurrently").Because(err)
	case has("; cannot create", "at the same time"):
		return dm.Errorf(dm.Conflict, op, "the ref name conflicts with that of another ref").Because(err)
	case has(".lock': File exists"):
		return dm.Errorf(dm.Unavailable, op, "the ref is locked by an unfinished change").Because(err)
	case has("invalid ref format", "refusing to update ref with bad name"):
		return dm.Errorf(dm.Invalid, op, "invalid ref name").Because(err)
	}
	return dm.Wrap(op, err)
}

// changedFolders lists the folders whose names a transaction changes, deepest
// first: that of each ref, those above folders that git has to make, and after
// a deletion, which removes empty folders and rewrites packed-refs, all up to
// the repository's root.
func changedFolders(dir string, updates []RefUpdate) []string {
	changed := map[string]bool{}
	for _, u := range updates {
		folder := path.Dir(u.Ref)
		changed[folder] = true
		for folder != "." && (u.New == "" || missing(dir, folder)) {
			folder = path.Dir(folder)
			changed[folder] = true
		}
	}
	list := slices.Sorted(maps.Keys(changed))
	slices.Reverse(list)
	return list
}

func missing(dir, folder string) bool {
	_, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(folder)))
	return errors.Is(err, fs.ErrNotExist)
}

// fsyncFolders makes the renames of a transaction durable: git fsyncs the
// ref's content and never the directory.
func fsyncFolders(dir string, folders []string) error {
	for _, folder := range folders {
		err := durable.Sync(filepath.Join(dir, filepath.FromSlash(folder)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // git removed an empty one; the one above records that
			return err
		}
	}
	return nil
}
