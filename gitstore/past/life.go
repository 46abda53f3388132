package past

import (
	"cmp"
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// OfThisLife reads deployment number n of the life that app lives now.
func (a *Answers) OfThisLife(ctx context.Context, op string, app dm.ApplicationName, e *index.Application, n int) (form.Change, error) {
	dir := a.cfg.Data.Path(repo.Application(app))
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return form.Change{}, repo.Failed(op, err)
	}
	at := heads[repo.Deployment(n)]
	if at.IsZero() {
		return form.Change{}, NoDeployment(dm.Invalid, op, app, n, e.Deployments)
	}
	objects := repo.Open(dir)
	for later := e.Deployments; later > n && ctx.Err() == nil; later-- { // a life begins with a create, which has a number
		c, err := objects.Commit(heads[repo.Deployment(later)])
		if err != nil {
			return form.Change{}, repo.Failed(op, err)
		}
		if form.ParseChange(c).Verb == dm.Create {
			return form.Change{}, dm.Errorf(dm.Invalid, op, "deployment %d is of an earlier %s, destroyed before deployment %d", n, app, later).
				WithHint("change the application to the package that it ran then")
		}
	}
	content, err := form.DecodeChange(objects, at)
	return content, repo.Failed(op, cmp.Or(ctx.Err(), err))
}
