package form

import (
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func TestOutcomeComesBack(t *testing.T) {
	t.Parallel()
	for i, text := range hostile {
		stamp := stamps(dm.Start)[i]
		o := Outcome{
			Stamp: stamp, Application: "noon-run", Package: ref, Before: two,
			Observation: dm.Observation{
				Desired: dm.Revision(one.String()), Effective: dm.Revision(one.String()), Deployment: 12, Phase: dm.Started,
				Information: text, Left: true, Health: text, Time: stamp.Time,
				Records: []dm.PluginRecord{{
					Type: "jupyter", Application: "noon-run", Desired: dm.Revision(one.String()), Users: []dm.UserName{"ana"},
					Components: []dm.ComponentRecord{{Name: "report", JobName: "noon-run-report", Files: 2, State: "RUNNING", Information: text, Data: []byte(`"\u003c"`)}},
					Folders:    map[string]dm.ComponentName{"": "report"},
				}},
			},
		}
		objects := kept(t, &o) // what is no UTF-8 is replaced in o
		want := o
		want.Stamp = clean(stamp)
		got, err := DecodeOutcome(objects, o.Commit)
		if err != nil {
			t.Fatal(err)
		}
		comesBack(t, &got, &want)
		said := ParseOutcome(commitOf(t, objects, o.Commit)).Observation
		if said.Desired != o.Observation.Desired || said.Phase != dm.Started || said.Information != dm.Printable(o.Observation.Information) ||
			said.Health != dm.Printable(o.Observation.Health) || !said.Time.Equal(stamp.Time) {
			t.Errorf("the message alone says %+v", said)
		}
		if i == 3 {
			named(t, o.Commit, "660ce42b22933433c7b6f0ff0c5ada0dd3b1708c")
		}
	}
}
