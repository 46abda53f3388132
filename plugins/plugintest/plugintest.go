package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"path"
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
	// New makes the plugin over a world of its own. standing lists what stands in
	// that world; it is nil where nothing can.
	New func(t *testing.T) (p dm.Plugin, standing func() []string)
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
	other       dm.ComponentName   = "other"
	application dm.ApplicationName = "contract"
	user        dm.UserName        = "ana"
	desired     dm.Revision        = "0123456789abcdef0123456789abcdef01234567"
)

// patience is how long a call may take that is to take seconds.
const patience = 30 * time.Second

// maxRecord is how many bytes a record of one component for one user may have.
const maxRecord = 16 << 10

// Run runs the contract.
func Run(t *testing.T, h Harness) {
	t.Run("1 registered", h.registered)
	t.Run("2 deployed", h.deployed)
	t.Run("3 planned", h.planned)
	t.Run("4 judged", h.judged)
	if h.NoEngine {
		t.Run("5 refused without an engine", h.refused)
	} else {
		t.Run("5 created", h.created)
		t.Run("6 kept", h.kept)
		t.Run("7 started and stopped", h.started)
		t.Run("8 changed", h.changed)
		t.Run("9 lived", h.lived)
		t.Run("10 destroyed", h.destroyed)
	}
	t.Run("11 interrupted", h.interrupted)
	t.Run("12 nothing to do", h.nothing)
}

func (h Harness) registered(t *testing.T) {
	p, _ := h.New(t)
	spellings := []dm.ComponentType{p.Type()}
	if able, ok := p.(dm.Aliaser); ok {
		spellings = append(spellings, able.Aliases()...)
	}
	slices.Sort(spellings)
	if spellings[0] == "" || len(slices.Compact(spellings)) != len(spellings) {
		t.Errorf("the spellings are %q, want each one once and none empty", spellings)
	}
}

func (h Harness) deployed(t *testing.T) {
	p, _ := h.New(t)
	if got := p.Validate(h.component(p, h.Files)); len(got) > 0 {
		t.Errorf("Validate of a good component = %v, want no findings", got)
	}
	got := dm.JoinFindings(p.Validate(h.component(p, fstest.MapFS{})))
	for _, want := range h.Mandatory {
		if !strings.Contains(got, want) {
			t.Errorf("Validate of an empty component = %q, want it to hold %q", got, want)
		}
	}
	if able, ok := p.(dm.Remarker); ok {
		if notes, err := able.Remarks(h.component(p, fstest.MapFS{})); err != nil || len(notes) > 0 {
			t.Errorf("Remarks on an empty component = %q, %v, want none", notes, err)
		}
	}
}

func (h Harness) planned(t *testing.T) {
	p, _ := h.New(t)
	able, ok := p.(dm.FileRuler)
	if !ok {
		return
	}
	rules := able.FileRules()
	if again := able.FileRules(); !reflect.DeepEqual(again, rules) {
		t.Errorf("FileRules = %+v, and again %+v", rules, again)
	}
	if rules.FillAll && len(rules.Fill) > 0 {
		t.Errorf("the rules fill every file and name %q", rules.Fill)
	}
	for _, file := range rules.Fill {
		if !fs.ValidPath(file) || path.Clean(file) != file {
			t.Errorf("the rules fill %q, which is no path in a component", file)
		}
	}
}

func (h Harness) judged(t *testing.T) {
	p, _ := h.New(t)
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

func (h Harness) refused(t *testing.T) {
	p, _ := h.New(t)
	record, err := p.Apply(t.Context(), h.request(p, component))
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

// life is one plugin with what stands of it.
type life struct {
	*testing.T
	h        Harness
	plugin   dm.Plugin
	standing func() []string
	previous *dm.PluginRecord
}

func (h Harness) begin(t *testing.T) *life {
	p, standing := h.New(t)
	if standing == nil {
		t.Fatal("the harness does not tell what stands")
	}
	return &life{T: t, h: h, plugin: p, standing: standing}
}

// apply asks for components, within the time that a call may take.
func (l *life) apply(when string, state dm.WantedState, components ...dm.ComponentName) dm.PluginRecord {
	l.Helper()
	r := l.h.request(l.plugin, components...)
	r.State, r.Previous = state, l.previous
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	record, err := l.plugin.Apply(ctx, r)
	if err != nil {
		l.Fatalf("Apply %s: %v", when, err)
	}
	l.previous = &record
	return record
}

func (l *life) destroy(when string, record dm.PluginRecord) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	if err := l.plugin.Destroy(ctx, record); err != nil {
		l.Errorf("Destroy %s: %v", when, err)
	}
	l.wantStanding(when+" destroyed", nil)
}

func (l *life) wantStanding(when string, want []string) {
	l.Helper()
	if got := l.standing(); !slices.Equal(got, want) {
		l.Errorf("%s: standing are %q, want %q", when, got, want)
	}
}

func (l *life) wantRecord(when string, got, want dm.PluginRecord) {
	l.Helper()
	if !reflect.DeepEqual(got, want) {
		l.Errorf("%s: the record is %+v, want %+v", when, got, want)
	}
}

func (h Harness) created(t *testing.T) {
	l := h.begin(t)
	first := l.apply("first", dm.WantCreated, component)
	if first.Type != l.plugin.Type() || first.Application != application || first.Desired != desired {
		t.Errorf("record = %+v, want type, application and desired commit of the request", first)
	}
	if len(first.Components) != 1 || first.Components[0].Name != component || first.Components[0].JobName != dm.JobName(application, component) {
		t.Errorf("record's components = %+v, want %s with its job name", first.Components, component)
	}
	standing := l.standing()
	if len(standing) == 0 {
		t.Error("nothing stands after Apply")
	}
	l.wantRecord("applied again", l.apply("again", dm.WantCreated, component), first)
	l.wantStanding("applied again", standing)
	l.previous = nil
	l.wantRecord("applied by a server that knows nothing", l.apply("unknown", dm.WantCreated, component), first)
	l.wantStanding("applied by a server that knows nothing", standing)
}

func (h Harness) kept(t *testing.T) {
	l := h.begin(t)
	record := l.apply("first", dm.WantCreated, component)
	text, err := json.Marshal(record)
	var read dm.PluginRecord
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil || len(text) > maxRecord {
		t.Fatalf("the record has %d bytes, %v, want at most %d", len(text), err, maxRecord)
	}
	l.wantRecord("read again", read, record)
	able, ok := l.plugin.(dm.FileRuler)
	if workspace := ok && able.FileRules().Workspace; workspace != slices.Contains(slices.Collect(maps.Values(record.Folders)), component) {
		t.Errorf("files in workspaces: %t; the record has the folders %q", workspace, record.Folders)
	}
	l.destroy("read again", read)
}

func (h Harness) started(t *testing.T) {
	l := h.begin(t)
	first := l.apply("first", dm.WantCreated, component)
	standing := l.standing()
	for _, state := range []dm.WantedState{dm.WantStarted, dm.WantStarted, dm.WantCreated, dm.WantCreated} {
		if got := l.apply(string(state), state, component); got.Components[0].JobName != first.Components[0].JobName {
			t.Errorf("%s: the job is %s, want %s", state, got.Components[0].JobName, first.Components[0].JobName)
		}
	}
	l.wantStanding("stopped", standing)
	l.destroy("stopped", *l.previous)
}

func (h Harness) changed(t *testing.T) {
	l := h.begin(t)
	first := l.apply("first", dm.WantCreated, component)
	standing := l.standing()
	if both := l.apply("two", dm.WantCreated, other, component); len(both.Components) != 2 {
		t.Errorf("the record of two components has %+v", both.Components)
	}
	l.apply("another", dm.WantCreated, other)
	l.wantRecord("changed back", l.apply("back", dm.WantCreated, component), first)
	l.wantStanding("changed back", standing)
	l.apply("none", dm.WantCreated)
	l.wantStanding("changed to no component", nil)
}

func (h Harness) lived(t *testing.T) {
	l := h.begin(t)
	record := l.apply("first", dm.WantStarted, component)
	standing := l.standing()
	if able, ok := l.plugin.(dm.Observer); ok {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		health, err := able.Observe(ctx, record)
		if err != nil || len(health) != 1 || health[0].Component != component {
			t.Errorf("Observe = %+v, %v, want one of %s", health, err, component)
		}
		l.wantStanding("observed", standing)
	}
	if able, ok := l.plugin.(dm.Watcher); ok {
		l.ends("Watch", func(ctx context.Context) { able.Watch(ctx, func(dm.ApplicationName) {}) })
	}
	if able, ok := l.plugin.(dm.LogStreamer); ok {
		var log bytes.Buffer
		if err := able.StreamLogs(t.Context(), &log, record, component, 10, false); err != nil {
			t.Errorf("StreamLogs: %v", err)
		}
		if err := able.StreamLogs(t.Context(), &log, record, other, 10, false); dm.KindOf(err) != dm.NotFound {
			t.Errorf("StreamLogs of what does not run: %v, want kind %q", err, dm.NotFound)
		}
		l.ends("StreamLogs", func(ctx context.Context) { able.StreamLogs(ctx, &log, record, component, 10, true) })
	}
	if able, ok := l.plugin.(dm.Summarizer); ok {
		got, err := able.Summarize(t.Context(), record, dm.Created)
		if err != nil || len(got) != len(record.Components) {
			t.Fatalf("Summarize = %v, %v, want one object per component", got, err)
		}
		for _, object := range got {
			if status, _ := object["aggregate_status"].(string); status == "" {
				t.Errorf("summary %v has no aggregate_status", object)
			}
		}
	}
}

// ends fails unless do works until its context ends, and then ends.
func (l *life) ends(what string, do func(context.Context)) {
	l.Helper()
	ctx, cancel := context.WithCancel(l.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do(ctx)
	}()
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		l.Fatalf("%s did not end with its context", what)
	}
}

func (h Harness) destroyed(t *testing.T) {
	l := h.begin(t)
	record := l.apply("first", dm.WantStarted, component, other)
	l.destroy("the record", record)
	l.destroy("the record again", record)
	l.previous = nil
	l.wantRecord("made anew", l.apply("anew", dm.WantStarted, component, other), record)

	names := dm.PluginRecord{Type: record.Type, Application: record.Application, Desired: record.Desired}
	for _, c := range record.Components {
		names.Components = append(names.Components, dm.ComponentRecord{Name: c.Name, JobName: c.JobName})
	}
	l.destroy("the names", names)
}

func (h Harness) interrupted(t *testing.T) {
	p, _ := h.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	record := dm.PluginRecord{
		Type: p.Type(), Application: application, Desired: desired, Users: []dm.UserName{user},
		Components: []dm.ComponentRecord{{Name: component, JobName: dm.JobName(application, component)}},
	}
	calls := map[string]func() error{
		"Apply":   func() error { _, err := p.Apply(ctx, h.request(p, component)); return err },
		"Destroy": func() error { return p.Destroy(ctx, record) },
	}
	if able, ok := p.(dm.Observer); ok {
		calls["Observe"] = func() error { _, err := able.Observe(ctx, record); return err }
	}
	for name, call := range calls {
		done := make(chan error, 1)
		go func() { done <- call() }()
		select {
		case err := <-done:
			if dm.KindOf(err) != dm.Unavailable {
				t.Errorf("%s with a cancelled context = %v, want an error of kind %q", name, err, dm.Unavailable)
			}
		case <-time.After(patience):
			t.Fatalf("%s did not return after its context was cancelled", name)
		}
	}
}

func (h Harness) nothing(t *testing.T) {
	p, _ := h.New(t)
	if _, err := p.Apply(t.Context(), h.request(p)); err != nil {
		t.Errorf("Apply of no components: %v", err)
	}
	if err := p.Destroy(t.Context(), dm.PluginRecord{Type: p.Type(), Application: application, Desired: desired}); err != nil {
		t.Errorf("Destroy of an empty record: %v", err)
	}
}

func (h Harness) component(p dm.Plugin, files fs.FS) dm.PackageComponent {
	return dm.PackageComponent{Type: p.Type(), Name: component, Properties: dm.Properties{}, Files: files}
}

// request asks for components whose files are those of the harness.
func (h Harness) request(p dm.Plugin, components ...dm.ComponentName) dm.ApplyRequest {
	r := dm.ApplyRequest{
		Application: application, Owner: user, Desired: desired, Deployment: 1, State: dm.WantCreated,
	}
	tree := fstest.MapFS{}
	for _, name := range components {
		planned := dm.Component{Type: p.Type(), Name: name}
		for _, file := range slices.Sorted(maps.Keys(h.Files)) {
			planned.Files = append(planned.Files, dm.File{Path: file, Content: h.Files[file].Data})
			tree[string(name)+"/"+file] = h.Files[file]
		}
		r.Components = append(r.Components, planned)
	}
	r.Files = tree
	return r
}
