package past

import (
	"slices"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// then finds the last outcome until an instant. Order counts before time: a clock
// that was set back does not bring an older outcome into effect.
func (p *applicationPast) then(app dm.ApplicationName, at time.Time) *dm.Then {
	for _, o := range slices.Backward(p.outcomes) {
		if o.Time.After(at) {
			continue
		}
		place, ok := p.place[o.Effective]
		if !ok {
			return nil // nothing was in effect
		}
		c := p.changes[place]
		then := &dm.Then{
			Application: app, Owner: c.owner, Phase: o.Phase, Package: c.Package,
			Deployment: o.Deployment, Revision: o.Effective, Since: o.Time,
		}
		if began, ok := p.ended[o.Effective]; ok {
			then.Since = p.outcomes[began].Time
		}
		return then
	}
	return nil
}
