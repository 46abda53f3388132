package gitstore

import (
	"context"

	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// number fills in the number of a content in effect or at main whose commit does
// not tell it: before format 3 a start, a stop and a destroy had none. It is that
// of the overtaken change that they follow, or else of what is in effect. Nothing
// else reads commits without a number, but verify.
func (e *appEntry) number(ctx context.Context, objects *repo.Objects, content *contentEntry) error {
	if content.deployment > 0 || content.commit.IsZero() {
		return nil
	}
	if content.commit == e.main {
		commits, err := overtaken(ctx, objects, e)
		if err != nil {
			return err
		}
		for _, c := range commits { // oldest first
			if n := form.ParseChange(c).Deployment; n > 0 {
				content.deployment = n
			}
		}
	}
	if content.deployment == 0 && e.observed != nil {
		content.deployment = e.observed.Deployment
	}
	return nil
}
