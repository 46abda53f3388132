package dm

import (
	"context"
	"io"
	"time"
)

// History is the record's slice for what was, when, and why. Implemented by
// gitstore. The first question about a repository walks its history once; later
// ones are answered from memory and read only what came since.
type History interface {
	// ApplicationHistory returns the changes of app, newest first. Kinds:
	// NotFound, Invalid (page.Before is no change of app), Unavailable.
	ApplicationHistory(ctx context.Context, app ApplicationName, page Page) (ChangePage, error)
	// PackageHistory returns what happened to all versions of a package, newest
	// first: uploads, withdrawals, deploys and undeploys. Kinds as above.
	PackageHistory(ctx context.Context, name PackageName, page Page) (ChangePage, error)
	// ApplicationDiff compares two deployments; to = 0 means the newest, from =
	// 0 the one before to. Kinds: NotFound, Invalid, Unavailable.
	ApplicationDiff(ctx context.Context, app ApplicationName, from, to int) (Difference, error)
	// PackageDiff compares two versions that are published. Kinds as above.
	PackageDiff(ctx context.Context, name PackageName, from, to Version) (Difference, error)
	// At tells what was in effect at an instant, by name in byte order. keep
	// chooses the applications by their present owner, and once more by the one
	// they had then; those that were not there then are left out.
	At(ctx context.Context, at time.Time, keep func(ApplicationName, UserName) bool) ([]Then, error)
}

// Page asks for a part of a history.
type Page struct {
	Limit  int      // entries at most; 0 means DefaultPage
	Before Revision // only entries older than this one; "" begins with the newest
}

// Sizes of pages, in entries.
const (
	DefaultPage = 50
	MaxPage     = 500
)

// ChangePage is a part of a history.
type ChangePage struct {
	Changes []PastChange
	Next    Revision // Page.Before of what follows; "" at the end
}

// PastChange is one change with its outcome.
type PastChange struct {
	Revision   Revision // commit on main; of a package the tag or the outcome's commit
	Stamp               // who, when, why, how
	Package    PackageRef
	Deployment int      // number of the deployment that it made; 0 for none
	Pushed     Revision // the commit that a push proposed; "" when there was none
	Findings   []string // of an upload: why the version can't be deployed; few and short
	Outcome    *Outcome // nil as long as it is being carried out, and for uploads and withdrawals
}

// Outcome is how a change ended.
type Outcome struct {
	Phase       Phase
	Succeeded   bool
	Information string
	Time        time.Time
}

// Difference is what lies between two deployments of an application, or two
// versions of a package.
type Difference struct {
	From, To  Side
	Overrides []OverrideChange // by type, component and key, in byte order
	Files     []FileChange     // by path in byte order; of an application below components/ and package/
	FilesMore int              // changed files that Files leaves out because there are too many

	// WritePatch writes the unified diff, for an application with its
	// application.json. One that is too long ends in a line that says so.
	WritePatch func(context.Context, io.Writer) error
}

// Side is one side of a Difference.
type Side struct {
	Deployment int // 0 for a package
	Revision   Revision
	Package    PackageRef
	Audience   []Subject
}

// OverrideChange is one override that differs. From and To are json.RawMessage;
// nil means that it is not set.
type OverrideChange struct {
	Type      ComponentType
	Component ComponentName
	Key       string
	From, To  any
}

// FileChange is one file that differs. Sizes are in bytes, -1 where the file
// does not exist.
type FileChange struct {
	Path             string
	FromSize, ToSize int64
	Executable       bool // of the newer side that has the file
}

// Then is one application as it was at an instant.
type Then struct {
	Application ApplicationName
	Owner       UserName
	Phase       Phase
	Package     PackageRef
	Deployment  int
	Revision    Revision  // the change in effect
	Since       time.Time // when that change came into effect
}
