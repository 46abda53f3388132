package dm

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"time"
)

// Plugin carries out what an application wants of one component type. Its life is
// told, and checked, step by step by plugins/plugintest. All findings are
// returned, never the first only.
//
// What a plugin makes may live for years, its calls last seconds: Apply brings
// into being what is wanted and does not wait for a job to run; how that goes is
// for an Observer to tell. A call is ended by its context, and one that goes on
// all the same keeps the application's other calls waiting, nobody else's.
//
// An error says what happens next, see NextOf. A change that is tried again
// waits: readers see why, and a destroy, a stop or a change is taken in its place.
type Plugin interface {
	Type() ComponentType
	// Validate checks one component's structure at deploy.
	Validate(c PackageComponent) []Finding
	// Check checks one component with its overrides at create and change.
	Check(c CheckedComponent) []Finding
	// Apply brings the application's components of this type to what r asks
	// for. It is idempotent and fenced by the caller. The record is returned also
	// beside an error when something was made.
	Apply(ctx context.Context, r ApplyRequest) (PluginRecord, error)
	// Destroy removes what the record tells of. It is idempotent and succeeds
	// when nothing is left. What an ended server made and did not record is
	// destroyed by a record that holds names alone, so they must be enough.
	Destroy(ctx context.Context, record PluginRecord) error
}

// PackageComponent is one component of a package.
type PackageComponent struct {
	Type       ComponentType // as the package spells it
	Name       ComponentName
	Properties Properties
	Files      fs.FS // the component's directory
}

// CheckedComponent is a component with what a create gave.
type CheckedComponent struct {
	PackageComponent
	Effective   Properties // properties with overrides applied
	Environment map[string]string
}

// ApplyRequest is the part of a Work that concerns one plugin.
type ApplyRequest struct {
	Application ApplicationName
	Owner       UserName
	Desired     Revision
	Deployment  int
	State       WantedState
	Components  []Component
	Files       fs.FS         // rooted at components/<type>; properties.json of a component has its overrides applied
	Previous    *PluginRecord // what stands now, nil when nothing does
	Team        string        // see Spec.Team
}

// Prober is the optional ability of a plugin to ask its engine, before a change is
// accepted, whether it would take what r brings. Nothing is made, and nothing that
// stands is touched. It answers within the time that ctx leaves. Findings are faults
// of the change, all at once. An error means that nobody can tell now: the change is
// accepted, and waits.
type Prober interface {
	Probe(ctx context.Context, r ApplyRequest) ([]Finding, error)
}

// Health is how one component does, in the words of its engine.
type Health struct {
	Component   ComponentName
	State       string // such as SUBMITTED, RUNNING or FAILED; "" when the engine does not know
	Information string // for people
	Drift       []Drift
}

// Drift is a foreign change of what a plugin made: one field that is not as the
// record wants it. The next Apply heals it.
type Drift struct {
	Object string `json:"object"` // such as "configmaps/noon-count-1f2e3d4c5b"
	Field  string `json:"field"`  // such as ".spec.suspend"; "" for the whole object
	Wanted string `json:"wanted"` // as JSON, cut; "" when the field is not wanted
	Live   string `json:"live"`   // as JSON, cut; "" when it is gone
	By     string `json:"by"`     // who changed it, as far as the engine knows
}

// Observer is the optional ability of a plugin whose work lives on after Apply: to
// tell how what a record tells of does. It is asked at intervals, and when a Watcher
// noticed something; it reads only, and answers in seconds. Readers see the answer
// at once; each change of a State becomes a commit, so State is of the work as a
// whole: of a schedule that it is kept, never how its last run went. A component that
// is left out is missing; an error keeps the states that were known.
type Observer interface {
	Observe(ctx context.Context, record PluginRecord) ([]Health, error)
}

// Watcher is the optional ability to notice by itself that an application may do
// otherwise than before, or that what a change of it waits for may be there. Watch
// works until ctx ends; when it returns before, it is called again after a pause.
// notice never blocks and may be called for anything, also many times.
type Watcher interface {
	Watch(ctx context.Context, notice func(ApplicationName)) error
}

// Summarizer is the optional ability to tell the state of components for
// /summary. One object per component of the record, in its order; every object
// has aggregate_status. Without it a component shows its State.
type Summarizer interface {
	Summarize(ctx context.Context, record PluginRecord, phase Phase) ([]map[string]any, error)
}

// Detailer is the optional ability to tell which jobs of its engine run for the
// components of a record, or ran last, for PNDA's /detail. Components that have none
// are left out.
type Detailer interface {
	Details(ctx context.Context, record PluginRecord) ([]EngineJob, error)
}

// EngineJob is one job of an engine, in the words that PNDA has for those of YARN.
type EngineJob struct {
	Component ComponentName
	ID        string    // that the engine gave it
	Began     time.Time // zero when that is not known
	State     string    // SUBMITTED, ACCEPTED, RUNNING, FINISHED, FAILED or KILLED
	Object    string    // on the cluster, such as "pnda/sparkapplications/noon-count-1f2e3d4c5b"
}

// LogStreamer is the optional ability to show what a component wrote where it
// runs. StreamLogs writes the newest lines to w and, when follow is set, what comes
// until ctx ends. Kinds: NotFound (nothing runs), Unavailable.
type LogStreamer interface {
	StreamLogs(ctx context.Context, w io.Writer, record PluginRecord, component ComponentName, lines int, follow bool) error
}

// Remarker is the optional ability of a plugin to tell what is odd in a
// component that can be delivered all the same. The notes name type, component
// and path.
type Remarker interface {
	// Looks tells how many bytes of a file's beginning Remarks reads; see Planner.Look.
	Looks(path string, size int64) int64
	Remarks(c PackageComponent) ([]string, error)
}

// Mover is the optional ability of a plugin to tell people where the files of
// an application are now, when a change has put them elsewhere; "" when not.
type Mover interface {
	Moved(before, after PluginRecord) string
}

// FileRules are how the files of one component type are delivered. The zero
// rules deliver them as the package has them; the descriptors of PNDA
// (hbase.json, hdfs.json, opentsdb.json) are filled whatever the rules.
type FileRules struct {
	Workspace bool     // they go into users' repositories, where PluginRecord.Folders says
	FillAll   bool     // variables are filled in every file
	Fill      []string // paths of the files in which they are filled
	Listed    bool     // application.properties gets a line for each variable
}

// FileRuler is the optional ability of a plugin whose files are not delivered by
// the zero FileRules. It returns the same rules each time.
type FileRuler interface{ FileRules() FileRules }

// Aliaser is the optional ability of a plugin whose component type packages may
// spell in more ways than Type.
type Aliaser interface{ Aliases() []ComponentType }

// PluginRecord is what one plugin made for one application; it is handed back
// to the plugin to change or destroy it.
type PluginRecord struct {
	Type        ComponentType     `json:"type"`
	Application ApplicationName   `json:"application"`
	Desired     Revision          `json:"desired"`         // the change on whose behalf it was made or is destroyed
	Users       []UserName        `json:"users,omitempty"` // to whom an earlier server delivered; not written any more
	Components  []ComponentRecord `json:"components"`

	// Of a type whose FileRules are for workspaces: in which sub-folder of the
	// application's folder each component is that users get, "" for the folder
	// itself. The record fills it in where a plugin did not keep it yet.
	Folders map[string]ComponentName `json:"folders,omitempty"`
}

// ComponentRecord is the part of a PluginRecord about one component.
type ComponentRecord struct {
	Name        ComponentName   `json:"name"`
	JobName     string          `json:"job_name"`
	Files       int             `json:"files"`
	State       string          `json:"state,omitempty"` // see Health
	Information string          `json:"information,omitempty"`
	Drift       []Drift         `json:"drift,omitempty"` // see Health
	Data        json.RawMessage `json:"data,omitempty"`  // the plugin's own
}
