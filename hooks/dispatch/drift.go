package dispatch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Drift is what somebody else changed of what a plugin made. It is shown as it is
// seen and recorded when it begins and when it ends; what puts it right is the next
// Apply, whoever causes it.

// Of drift that goes on and on readers get a part.
const (
	mostDrift = 20 // of one component
	toldDrift = 3  // in words
)

// seen is drift as it is kept: bounded, and without what moves a cursor.
func seen(drift []dm.Drift) []dm.Drift {
	var list []dm.Drift
	for _, d := range drift[:min(len(drift), mostDrift)] {
		list = append(list, dm.Drift{
			Object: printable(d.Object), Field: printable(d.Field), Wanted: printable(d.Wanted), Live: printable(d.Live), By: printable(d.By),
		})
	}
	return list
}

func printable(text string) string { return dm.Printable(fmt.Sprintf("%.200s", text)) }

// driftText tells drift in words: sparkapplications/x .spec.suspend is false, wanted
// true, by kubectl.
func driftText(drift []dm.Drift) string {
	var list []string
	for _, d := range drift[:min(len(drift), toldDrift)] {
		text := d.Object
		if d.Field != "" {
			text += " " + d.Field
		}
		switch {
		case d.Live == "":
			text += " is gone"
		case d.Field == "" && d.Wanted == "":
			text += " is not wanted"
		default:
			text += " is " + d.Live
		}
		if d.Wanted != "" && d.Field != "" {
			text += ", wanted " + d.Wanted
		} else if d.Wanted == "" && d.Field != "" {
			text += ", not wanted"
		}
		if d.By != "" {
			text += ", by " + d.By
		}
		list = append(list, text)
	}
	if more := len(drift) - toldDrift; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, "; ")
}

// healed are the notes of an outcome about drift that its Apply put right.
func (p *pass) healed(now []dm.PluginRecord) (notes []string) {
	if p.work.Observed == nil {
		return nil
	}
	for _, before := range p.work.Observed.Records {
		at := slices.IndexFunc(now, func(r dm.PluginRecord) bool { return r.Type == before.Type })
		if at < 0 {
			continue
		}
		for _, c := range before.Components {
			stands := slices.ContainsFunc(now[at].Components, func(n dm.ComponentRecord) bool { return n.Name == c.Name })
			if len(c.Drift) > 0 && stands {
				notes = append(notes, fmt.Sprintf("healed %s/%s: %s", before.Type, c.Name, driftText(c.Drift)))
			}
		}
	}
	return notes
}

// toldDriftOf takes drift into c and says whether it has begun or ended.
func toldDriftOf(t dm.ComponentType, c *dm.ComponentRecord, drift []dm.Drift) (change string) {
	before := len(c.Drift) > 0
	c.Drift = seen(drift)
	switch now := len(c.Drift) > 0; {
	case now && !before:
		return fmt.Sprintf("%s/%s: %s", t, c.Name, cmp.Or(driftText(c.Drift), "something was changed"))
	case before && !now:
		return fmt.Sprintf("%s/%s is as it is wanted again", t, c.Name)
	}
	return ""
}
