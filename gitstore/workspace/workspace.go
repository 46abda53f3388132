package workspace

import (
	"context"
	"log/slog"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Config says what Workspaces need. All is required but SweepAfter.
type Config struct {
	Data       *repo.Folder
	Service    *repair.Service
	Index      *index.Index
	Told       Sequence
	Readme     []byte        // README.ipynb of a workspace
	Most       int           // users who may have a repository
	SweepAfter time.Duration // how long a workspace has been empty when a sweep takes it; 0 means that none is taken
	Clock      func() time.Time
	Log        *slog.Logger
}

// Sequence is the numbers of what happens, as far as all before them is known.
type Sequence interface {
	Told() uint64
	Wait(ctx context.Context, after uint64) error // for a number above after
}

// Workspaces derives the repositories of users from the applications. Its methods
// may be called from many goroutines.
type Workspaces struct {
	Config
	users     sync.Map // dm.UserName → *user, of those who have a repository
	timelines timelines
	contents  shelf
	fetched   fetches
	people    count
	sweeps    sweeps
	blank     State // tip and tree of the blank workspace
}

// New reads nothing yet.
func New(cfg Config) *Workspaces {
	ws := &Workspaces{Config: cfg}
	ws.timelines.of, ws.fetched.due, ws.fetched.owed = map[dm.ApplicationName]*timeline{}, make(chan struct{}, 1), map[dm.UserName]bool{}
	return ws
}

// Start opens the blank workspace and the record of sweeps, which are there before
// any workspace is.
func (ws *Workspaces) Start(ctx context.Context) error {
	if err := ws.findBlank(ctx); err != nil {
		return err
	}
	if err := repair.Patiently(ctx, ws.Log, "the record of sweeps", func() error { return ws.openSweeps(ctx) }); err != nil {
		ws.Log.Error("the record of sweeps cannot be read, so swept workspaces are empty for now", "err", err)
		if repo.Proof(err) == nil { // until then nobody knows who had one
			ws.Service.LookSoon(repo.Sweeps)
		}
	}
	return nil
}

// Forget drops what was read of a user's repository.
func (ws *Workspaces) Forget(u dm.UserName) { ws.users.Delete(u) }
