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
	Readme     []byte        // README.ipynb of a workspace
	Most       int           // users who may have a repository
	SweepAfter time.Duration // how long a workspace has been empty when a sweep takes it; 0 means that none is taken
	Clock      func() time.Time
	Log        *slog.Logger
}

// Workspaces derives the repositories of users from the applications. Its methods
// may be called from many goroutines.
type Workspaces struct {
	Config
	users  cache
	people count
	sweeps sweeps
	blank  State // tip and tree of the blank workspace

	rebuilding sync.Mutex // one rebuild at a time
}

var _ dm.Workspaces = (*Workspaces)(nil)

// New reads nothing yet.
func New(cfg Config) *Workspaces { return &Workspaces{Config: cfg} }

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
func (ws *Workspaces) Forget(u dm.UserName) { ws.users.m.Delete(u) }
