package repair

import (
	"context"
	"log/slog"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Record is what a Service asks of the record, which knows what the
// repositories say.
type Record interface {
	// Recover cleans a repository and reads its heads. An error that is no
	// repo.Fault is a doubt. The repository's lock is held, or nobody else works.
	Recover(ctx context.Context, r dm.Repository) error

	// Forget drops what was read of a repository.
	Forget(r dm.Repository)

	// Resume goes on with what a repository owes, and fails when it can't now.
	Resume(r dm.Repository) error
}

// Config says what a Service needs. All is required.
type Config struct {
	Data   *repo.Folder
	Record Record
	Clock  func() time.Time
	Log    *slog.Logger
}

// Service knows which repositories are in service, and looks again at those that
// are not. Its methods may be called from many goroutines.
type Service struct {
	Config
	again *again

	mu   sync.RWMutex
	away map[dm.Repository]outOfService
}

// New starts with all in service.
func New(cfg Config) *Service {
	return &Service{Config: cfg, again: newAgain(), away: map[dm.Repository]outOfService{}}
}

// Suspect asks for a look at a repository in which something could not be read.
// Who goes on asking for it makes no further look.
func (s *Service) Suspect(r dm.Repository) {
	if s.again.of(r) == nil {
		s.again.askFsck(r)
	}
}

// LookSoon asks for a look at the heads of a repository.
func (s *Service) LookSoon(r dm.Repository) { s.again.ask(r, firstLook) }
