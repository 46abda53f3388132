package plugintest

import (
	"context"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// Harness describes one plugin.
type Harness struct {
	// New makes the plugin over a world of its own.
	New func(t *testing.T) dm.Plugin
	// Files are a component that nothing is wrong with.
	Files fstest.MapFS
	// Properties are the effective properties that Check takes for Files.
	Properties dm.Properties
	// Mandatory are the texts that Validate must say of an empty component,
	// each of them.
	Mandatory []string
	// Refused are properties that Check must refuse, each by the text that the
	// findings must hold.
	Refused map[string]dm.Properties
	// NoEngine says that Apply must refuse, with a sentence that names the type.
	NoEngine bool
}

const (
	component   dm.ComponentName   = "part"
	application dm.ApplicationName = "contract"
	user        dm.UserName        = "ana"
	desired     dm.Revision        = "0123456789abcdef0123456789abcdef01234567"
)

// Run runs the contract.
func Run(t *testing.T, h Harness) {
	t.Run("type", func(t *testing.T) {
		if h.New(t).Type() == "" {
			t.Error("Type() is empty")
		}
	})
	t.Run("validate", h.validate)
	t.Run("check", h.check)
	if h.NoEngine {
		t.Run("apply without an engine", h.applyRefused)
	} else {
		t.Run("apply and destroy", h.applyAndDestroy)
	}
	t.Run("nothing to do", h.nothing)
	t.Run("cancelled", h.cancelled)
}

func (h Harness) validate(t *testing.T) {
	p := h.New(t)
	if got := p.Validate(h.component(p, h.Files)); len(got) > 0 {
		t.Errorf("Validate of a good component = %v, want no findings", got)
	}
	got := dm.JoinFindings(p.Validate(h.component(p, fstest.MapFS{})))
	for _, want := range h.Mandatory {
		if !strings.Contains(got, want) {
			t.Errorf("Validate of an empty component = %q, want it to hold %q", got, want)
		}
	}
}

func (h Harness) check(t *testing.T) {
	p := h.New(t)
	check := func(properties dm.Properties) string {
		return dm.JoinFindings(p.Check(dm.CheckedComponent{PackageComponent: h.component(p, h.Files), Effective: properties}))
	}
	if got := check(h.Properties); got != "" {
		t.Errorf("Check of good properties = %q, want no findings", got)
	}
	for want, properties := range h.Refused {
		if got := check(properties); !strings.Contains(got, want) {
			t.Errorf("Check of %s = %q, want it to hold %q", properties, got, want)
		}
	}
}

func (h Harness) applyRefused(t *testing.T) {
	p := h.New(t)
	record, err := p.Apply(t.Context(), h.request(p))
	if dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), string(p.Type())) {
		t.Errorf("Apply error = %v of kind %q, want kind %q and the type %s named", err, dm.KindOf(err), dm.Invalid, p.Type())
	}
	if len(record.Components) > 0 {
		t.Errorf("Apply made %+v, want nothing", record)
	}
	if err := p.Destroy(t.Context(), record); err != nil {
		t.Errorf("Destroy of what was refused: %v", err)
	}
}

func (h Harness) applyAndDestroy(t *testing.T) {
	p, r := h.New(t), h.request(h.New(t))
	apply := func(when string) dm.PluginRecord {
		t.Helper()
		record, err := p.Apply(t.Context(), r)
		if err != nil {
			t.Fatalf("Apply %s: %v", when, err)
		}
		r.Previous = &record
		return record
	}
	first := apply("first")
	if first.Type != p.Type() || first.Application != application || first.Desired != desired {
		t.Errorf("record = %+v, want type, application and desired commit of the request", first)
	}
	if len(first.Components) != 1 || first.Components[0].Name != component || first.Components[0].JobName != dm.JobName(application, component) {
		t.Errorf("record's components = %+v, want %s with its job name", first.Components, component)
	}
	if again := apply("again"); !reflect.DeepEqual(again, first) {
		t.Errorf("Apply again = %+v, want the same record %+v", again, first)
	}
	for _, when := range []string{"first", "again"} {
		if err := p.Destroy(t.Context(), first); err != nil {
			t.Errorf("Destroy %s: %v", when, err)
		}
	}
	r.Previous = nil
	if after := apply("after destroy"); !reflect.DeepEqual(after, first) {
		t.Errorf("Apply after Destroy = %+v, want the same record %+v", after, first)
	}
	h.summary(t, p, first)
}

// summary holds for plugins that have the ability.
func (h Harness) summary(t *testing.T, p dm.Plugin, record dm.PluginRecord) {
	s, ok := p.(dm.Summarizer)
	if !ok {
		return
	}
	got, err := s.Summarize(t.Context(), record, dm.Created)
	if err != nil || len(got) != len(record.Components) {
		t.Fatalf("Summarize = %v, %v, want one object per component", got, err)
	}
	for _, object := range got {
		if status, _ := object["aggregate_status"].(string); status == "" {
			t.Errorf("summary %v has no aggregate_status", object)
		}
	}
}

func (h Harness) nothing(t *testing.T) {
	p := h.New(t)
	r := h.request(p)
	r.Components = nil
	if _, err := p.Apply(t.Context(), r); err != nil {
		t.Errorf("Apply of no components: %v", err)
	}
	if err := p.Destroy(t.Context(), dm.PluginRecord{Type: p.Type(), Application: application, Desired: desired}); err != nil {
		t.Errorf("Destroy of an empty record: %v", err)
	}
}

func (h Harness) cancelled(t *testing.T) {
	p := h.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() {
		_, err := p.Apply(ctx, h.request(p))
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("Apply with a cancelled context = nil, want an error")
		}
	case <-time.After(time.Minute):
		t.Fatal("Apply did not return after its context was cancelled")
	}
}

func (h Harness) component(p dm.Plugin, files fs.FS) dm.PackageComponent {
	return dm.PackageComponent{Type: p.Type(), Name: component, Properties: dm.Properties{}, Files: files}
}

// request asks for one component whose files are those of the harness.
func (h Harness) request(p dm.Plugin) dm.ApplyRequest {
	planned := dm.Component{Type: p.Type(), Name: component}
	tree := fstest.MapFS{}
	for _, path := range slices.Sorted(maps.Keys(h.Files)) {
		planned.Files = append(planned.Files, dm.File{Path: path, Content: h.Files[path].Data})
		tree[string(component)+"/"+path] = h.Files[path]
	}
	return dm.ApplyRequest{
		Application: application, Owner: user, Users: []dm.UserName{user}, Desired: desired, Deployment: 1,
		State: dm.WantCreated, Components: []dm.Component{planned}, Files: tree,
	}
}
