package dispatch

import (
	"slices"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// TestDriftIsShownToldAndHealed by the next change, whatever it is.
func TestDriftIsShownToldAndHealed(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		shown := func() []dm.Drift {
			o := b.box.reads("noon")
			return o.Records[slices.IndexFunc(o.Records, func(r dm.PluginRecord) bool { return r.Type == "oozie" })].Components[0].Drift
		}
		b.box.accept("noon", dm.Create, dm.WantStarted, "oozie/nightly")
		b.d.Wake("noon")
		b.pass(time.Hour)
		suspended := dm.Drift{Object: "sparkapplications/x", Field: ".spec.suspend", Wanted: "true", Live: "false", By: "kubectl"}
		engine.Drifts("noon", "nightly", []dm.Drift{suspended})
		b.pass(time.Second)
		if got := shown(); !slices.Equal(got, []dm.Drift{suspended}) {
			t.Errorf("readers see %v, want %v", got, suspended)
		}
		moved := suspended
		moved.Live = "null"
		engine.Drifts("noon", "nightly", []dm.Drift{moved, suspended})
		b.pass(time.Hour)
		if got := shown(); len(got) != 2 {
			t.Errorf("readers see %v, want both", got)
		}
		b.restart()
		b.pass(time.Hour)
		engine.Drifts("noon", "nightly", nil)
		b.pass(time.Hour)
		engine.Drifts("noon", "nightly", []dm.Drift{suspended})
		b.pass(2 * time.Hour)
		want := []string{
			"oozie/nightly is SUBMITTED", "oozie/nightly: sparkapplications/x .spec.suspend is false, wanted true, by kubectl",
			"oozie/nightly is as it is wanted again", "oozie/nightly: sparkapplications/x .spec.suspend is false, wanted true, by kubectl",
		}
		if got := b.told("noon"); !slices.Equal(got, want) {
			t.Errorf("recorded %q, want %q", got, want)
		}
		b.box.accept("noon", dm.Change, dm.WantStarted, "oozie/nightly")
		b.d.Wake("noon")
		b.pass(0)
		if got, want := b.box.last(t, "noon").Information, "healed oozie/nightly: sparkapplications/x .spec.suspend is false, wanted true, by kubectl"; got != want {
			t.Errorf("the outcome says %q, want %q", got, want)
		}
		if got := shown(); len(got) > 0 {
			t.Errorf("readers still see %v", got)
		}
	})
}

func TestDriftInWords(t *testing.T) {
	t.Parallel()
	for want, drift := range map[string][]dm.Drift{
		"configmaps/x is gone":                          {{Object: "configmaps/x", Wanted: "{}"}},
		"configmaps/x .data.a is gone, wanted 1":        {{Object: "configmaps/x", Field: ".data.a", Wanted: "1"}},
		"configmaps/x .data.a is 2, not wanted, by ana": {{Object: "configmaps/x", Field: ".data.a", Live: "2", By: "ana"}},
		"pods/x is not wanted, by ana":                  {{Object: "pods/x", Live: "{}", By: "ana"}},
		"a is 1; b is 1; c is 1; 2 more": {
			{Object: "a", Live: "1", Wanted: "2"}, {Object: "b", Live: "1", Wanted: "2"}, {Object: "c", Live: "1", Wanted: "2"}, {}, {},
		},
	} {
		if got := driftText(drift); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := seen(make([]dm.Drift, 100)); len(got) != mostDrift {
		t.Errorf("%d are kept, want %d", len(got), mostDrift)
	}
	if got := seen([]dm.Drift{{By: "a\x1b[2Jb"}}); got[0].By != dm.Printable("a\x1b[2Jb") || got[0].By == "a\x1b[2Jb" {
		t.Errorf("what moves a cursor is kept: %q", got[0].By)
	}
}
