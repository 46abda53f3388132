package engines

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Kept answers what components wrote last. It is safe for many goroutines.
type Kept struct {
	data    *repo.Folder
	service *repair.Service
	index   *index.Index
}

var _ dm.KeptLogs = (*Kept)(nil)

// NewKept reads nothing yet.
func NewKept(data *repo.Folder, service *repair.Service, index *index.Index) *Kept {
	return &Kept{data, service, index}
}

// KeptLog implements dm.KeptLogs.
func (k *Kept) KeptLog(_ context.Context, app dm.ApplicationName, t dm.ComponentType, component dm.ComponentName) (dm.KeptLog, bool, error) {
	const op = "engines.KeptLog"
	r := repo.Application(app)
	if err := k.service.Sound(r); err != nil {
		return dm.KeptLog{}, false, err
	}
	e := k.index.Application(app)
	if e == nil {
		return dm.KeptLog{}, false, nil
	}
	log, ok, err := form.NewestLog(repo.Open(k.data.Path(r)), e.KeptLogs(), t, component)
	if err != nil {
		k.service.Suspect(r)
	}
	return log, ok, repo.Failed(op, err)
}
