package spark

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

const kind dm.ComponentType = "sparkStreaming"

// The engines.
const (
	Auto     = "auto" // the operator where the cluster has it, else native
	Operator = "operator"
	Native   = "native"
)

// Config is what a Plugin needs.
type Config struct {
	Cluster  *kube.Cluster     // nil: components are checked and not run
	Files    dm.FileAddresses  // required with a Cluster
	Spool    func() string     // folder for files that are read in pieces; nil means the system's
	Images   map[string]string // by version of Spark, such as "4.0.4"; required with a Cluster
	Version  string            // of Images, for who asks for none of them; "" means the newest
	Engine   string            // "" means Auto
	EventLog string            // folder for event logs, such as "s3a://logs/spark"; "" for none
	Log      *slog.Logger      // nil means silent
	Clock    func() time.Time  // nil means time.Now
}

// Plugin implements dm.Plugin for sparkStreaming.
type Plugin struct {
	plugins.Engineless // what is done without a cluster
	cfg                Config
	mu                 sync.Mutex
	asked              map[string]answer // of drivers, by pod
}

var (
	_ dm.Plugin      = (*Plugin)(nil)
	_ dm.FileRuler   = (*Plugin)(nil)
	_ dm.Prober      = (*Plugin)(nil)
	_ dm.Observer    = (*Plugin)(nil)
	_ dm.Watcher     = (*Plugin)(nil)
	_ dm.Summarizer  = (*Plugin)(nil)
	_ dm.Detailer    = (*Plugin)(nil)
	_ dm.LogStreamer = (*Plugin)(nil)
	_ dm.Remarker    = (*Plugin)(nil)
)

// New checks cfg. It asks nobody.
func New(cfg Config) (*Plugin, error) {
	cfg.Engine = cmp.Or(cfg.Engine, Auto)
	if cfg.Version == "" && len(cfg.Images) > 0 {
		cfg.Version = slices.MaxFunc(sortedKeys(cfg.Images), compareVersions)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Spool == nil {
		cfg.Spool = os.TempDir
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if !slices.Contains([]string{Auto, Operator, Native}, cfg.Engine) {
		return nil, fmt.Errorf("spark: the engine %q must be %s, %s or %s", cfg.Engine, Auto, Operator, Native)
	}
	if cfg.Cluster != nil && cfg.Images[cfg.Version] == "" {
		return nil, fmt.Errorf("spark: no image is configured for Spark %s", cmp.Or(cfg.Version, "of any version"))
	}
	return &Plugin{Engineless: plugins.Engineless{Kind: kind, Engine: "Spark"}, cfg: cfg, asked: map[string]answer{}}, nil
}

// WithoutCluster is the plugin of a server that has no cluster: it checks components
// and does not run them.
func WithoutCluster() *Plugin {
	p, err := New(Config{})
	if err != nil {
		panic(err) // there is nothing in it that could be wrong
	}
	return p
}

// FileRules implements dm.FileRuler.
func (*Plugin) FileRules() dm.FileRules {
	return dm.FileRules{Fill: []string{propertiesName, log4jFile}, Listed: true}
}

// Validate checks the component's structure.
func (*Plugin) Validate(c dm.PackageComponent) []dm.Finding {
	findings := plugins.MissingFiles(c, propertiesName, log4jFile)
	if plugins.HasFile(c, "upstart.conf") {
		findings = append(findings, dm.Finding{Path: "upstart.conf", Message: "user-supplied upstart.conf is no longer supported, the server writes the service itself"})
	}
	return findings
}

// Check checks the component with its overrides.
func (p *Plugin) Check(c dm.CheckedComponent) []dm.Finding {
	findings := append(plugins.CheckMain(c), plugins.CheckRespawn(c)...)
	_, more := p.cfg.parse(c.Effective, c.Files)
	if p.cfg.Cluster == nil {
		more = append(more, p.CheckSecrets(c)...)
	}
	return append(findings, more...)
}

// made is one component as it is made: its job, and what is kept of it.
type made struct {
	name      dm.ComponentName
	jobName   string
	files     int
	job       *job
	team      kube.Team
	addresses addresses
	data      data
	runs      bool // it has been started already
}

// data is what the record keeps of a component.
type data struct {
	Engine  string `json:"engine"`
	Team    string `json:"team"`
	Object  string `json:"object"` // name of what stands for it
	Run     string `json:"run"`    // of the job, other at each start and each change
	Job     string `json:"job"`    // what is run, as a digest
	Started bool   `json:"started"`
	Again   bool   `json:"again,omitempty"` // it is run again whenever it ends
	Ran     bool   `json:"ran,omitempty"`   // it has been started before
}

// identity is a digest of all that is run: of the objects as they are while it runs,
// whichever run that is.
func (p *Plugin) identity(r dm.ApplyRequest, c made) (string, error) {
	c.data.Started, c.data.Run = true, ""
	objects, err := p.objects(r, c)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(objects)
	if err != nil {
		return "", dm.Wrap("spark.identity", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:10]), nil
}

// objects are those of one component.
func (p *Plugin) objects(r dm.ApplyRequest, c made) ([]kube.Object, error) {
	if c.data.Engine == Native {
		return p.native(r, c)
	}
	return p.operator(r, c), nil
}

// runName is the object of one run of a job that ends.
func (c made) runName() string { return kube.Name(dm.ApplicationName(c.data.Object), c.data.Run) }

// componentOf finds the record of a component; nothing stands for one that has none.
func componentOf(record *dm.PluginRecord, name dm.ComponentName) dm.ComponentRecord {
	if record != nil {
		for _, c := range record.Components {
			if c.Name == name {
				return c
			}
		}
	}
	return dm.ComponentRecord{}
}

// dataOf reads what a record keeps of a component; of one that a server ended before
// it recorded it, nothing.
func dataOf(record *dm.PluginRecord, name dm.ComponentName) (d data) {
	if json.Unmarshal(componentOf(record, name).Data, &d) != nil {
		return data{}
	}
	return d
}

// Apply implements dm.Plugin.
func (p *Plugin) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	if p.cfg.Cluster == nil {
		return p.Engineless.Apply(ctx, r)
	}
	record := dm.PluginRecord{Type: kind, Application: r.Application, Desired: r.Desired}
	if err := plugins.Interrupted(ctx, "spark.Apply"); err != nil {
		return record, err
	}
	if len(r.Components) == 0 {
		return record, p.cfg.Cluster.Destroy(ctx, r.Application, kind)
	}
	set, components, err := p.set(ctx, r)
	if err != nil {
		return record, err
	}
	for _, c := range components {
		one := dm.ComponentRecord{Name: c.name, JobName: c.jobName, Files: c.files, State: created, Information: strings.Join(c.job.notes, "; ")}
		if c.data.Started {
			one.State = submitted
		}
		if was := componentOf(r.Previous, c.name); c.runs && dataOf(r.Previous, c.name).Run == c.data.Run {
			one.State = cmp.Or(was.State, one.State) // it goes on
		}
		if one.Data, err = json.Marshal(c.data); err != nil {
			return dm.PluginRecord{}, dm.Wrap("spark.Apply", err)
		}
		record.Components = append(record.Components, one)
	}
	return record, p.cfg.Cluster.Apply(ctx, set)
}

// Destroy implements dm.Plugin.
func (p *Plugin) Destroy(ctx context.Context, record dm.PluginRecord) error {
	if p.cfg.Cluster == nil {
		return p.Engineless.Destroy(ctx, record)
	}
	if err := plugins.Interrupted(ctx, "spark.Destroy"); err != nil || record.Application == "" {
		return err
	}
	return p.cfg.Cluster.Destroy(ctx, record.Application, kind)
}

// Probe implements dm.Prober: the cluster judges what a start would bring, so that who
// creates an application hears of it, and not who starts it.
func (p *Plugin) Probe(ctx context.Context, r dm.ApplyRequest) ([]dm.Finding, error) {
	if p.cfg.Cluster == nil || len(r.Components) == 0 {
		return nil, nil
	}
	r.State = dm.WantStarted
	set, _, err := p.set(ctx, r)
	var refused *dm.Error
	if errors.As(err, &refused) && len(refused.Findings) > 0 {
		return refused.Findings, nil
	}
	if dm.KindOf(err) == dm.Invalid {
		return []dm.Finding{{Type: kind, Message: dm.Public(err)}}, nil
	}
	if err != nil {
		return nil, err
	}
	return p.cfg.Cluster.Check(ctx, set)
}

// set is all that r asks for on the cluster.
func (p *Plugin) set(ctx context.Context, r dm.ApplyRequest) (kube.Set, []made, error) {
	team, err := p.cfg.Cluster.Team(r.Team)
	if err != nil {
		return kube.Set{}, nil, err
	}
	set := kube.Set{Application: r.Application, Type: kind, Team: team, Desired: r.Desired}
	var all []made
	for _, component := range r.Components {
		c, err := p.make(ctx, r, team, component)
		if err != nil {
			return set, nil, err
		}
		objects, err := p.objects(r, c)
		if err != nil {
			return set, nil, dm.Wrap("spark.set", err)
		}
		set.Objects = append(set.Objects, objects...)
		if !c.runs { // a quota would count the pods of one that runs twice
			set.Pods = append(set.Pods,
				kube.Pod{Component: c.name, Of: "driver", Spec: c.job.sized(c.job.podSpec(team, driverContainer), c.job.driver)},
				kube.Pod{Component: c.name, Of: "executor", Spec: c.job.sized(c.job.podSpec(team, executorContainer), c.job.executor)})
		}
		all = append(all, c)
	}
	return set, all, nil
}

// make reads one component as it is delivered and decides what is kept of it.
func (p *Plugin) make(ctx context.Context, r dm.ApplyRequest, team kube.Team, component dm.Component) (made, error) {
	const op = "spark.make"
	files, err := fs.Sub(r.Files, string(component.Name))
	if err != nil {
		return made{}, dm.Wrap(op, err)
	}
	text, err := fs.ReadFile(files, "properties.json")
	if err != nil {
		return made{}, dm.Wrap(op, err)
	}
	properties, err := dm.ParseProperties(text)
	if err != nil {
		return made{}, dm.Wrap(op, err)
	}
	j, findings := p.cfg.parse(properties, files)
	if !team.Allows(j.image) {
		findings = append(findings, dm.Finding{Path: "properties.json", Message: fmt.Sprintf("the image %q is not among those that the team %s may run", j.image, team.Name)})
	}
	if len(findings) > 0 { // of what was accepted when the server was configured in another way
		for i := range findings {
			findings[i].Type, findings[i].Component = kind, component.Name
		}
		return made{}, dm.Refuse(op, "the job can't be run", findings)
	}
	c := made{name: component.Name, jobName: dm.JobName(r.Application, component.Name), files: len(component.Files), job: j, team: team}
	if c.addresses, err = p.locate(r, component.Name, files, j); err != nil {
		return made{}, err
	}
	err = p.decide(ctx, r, &c)
	return c, err
}

// decide says which engine runs a component and which run this is. The engine is
// decided once. A run goes on when it was started before and nothing of it is other.
func (p *Plugin) decide(ctx context.Context, r dm.ApplyRequest, c *made) (err error) {
	before := dataOf(r.Previous, c.name)
	c.runs = before.Started
	c.data = data{
		Engine: before.Engine, Team: c.team.Name, Object: kube.Name(r.Application, string(kind), string(c.name)),
		Started: r.State == dm.WantStarted, Again: c.job.again() == "Always", Ran: before.Ran || before.Started,
	}
	if c.data.Engine == "" {
		if c.data.Engine, err = p.engine(ctx); err != nil {
			return err
		}
	}
	if c.data.Job, err = p.identity(r, *c); err != nil {
		return err
	}
	// The digest stands for what this server makes of the same change otherwise than
	// the one before: with another image, say.
	c.data.Run = string(r.Desired) + "-" + c.data.Job
	if before.Run != "" && (!c.data.Started || before.Started && before.Job == c.data.Job) {
		c.data.Run = before.Run
	}
	return nil
}

// engine is what runs a component that is made for the first time.
func (p *Plugin) engine(ctx context.Context) (string, error) {
	if p.cfg.Engine != Auto {
		return p.cfg.Engine, nil
	}
	served, err := p.cfg.Cluster.Serves(ctx, kube.SparkApplication)
	if err != nil {
		return "", err
	}
	if served {
		return Operator, nil
	}
	return Native, nil
}
