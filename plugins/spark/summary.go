package spark

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

var jobKind = batchv1.SchemeGroupVersion.WithKind("Job")

// How long a driver may take to tell of its jobs, and how long that is good for.
const (
	askTime    = 5 * time.Second
	answerTime = 5 * time.Second
)

// answer is what a driver told.
type answer struct {
	at     time.Time
	id     string // of the application, Spark's
	counts counts
	err    error
}

// counts are PNDA's words about the jobs and stages of an application.
type counts struct {
	Jobs    jobCounts   `json:"jobSummary"`
	Stages  stageCounts `json:"stageSummary"`
	Trouble string      `json:"trouble,omitempty"` // of a pod; PNDA's has none
}

type jobCounts struct {
	Number    int `json:"number_of_jobs"`
	Running   int `json:"running"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Unknown   int `json:"unknown"`
}

type stageCounts struct {
	Number   int `json:"number_of_stages"`
	Active   int `json:"active"`
	Complete int `json:"complete"`
	Pending  int `json:"pending"`
	Failed   int `json:"failed"`
}

// Summarize implements dm.Summarizer, in the shape of PNDA's summaries for this type.
func (p *Plugin) Summarize(ctx context.Context, record dm.PluginRecord, _ dm.Phase) ([]map[string]any, error) {
	states := map[string]*kube.State{}
	var list []map[string]any
	for _, c := range record.Components {
		d := dataOf(&record, c.Name)
		one := map[string]any{
			"aggregate_status": cmp.Or(c.State, notFound), "name": c.JobName, "componentType": "SparkStreaming",
			"yarnId": "", "tracking_url": "", "information": c.Information,
		}
		list = append(list, one)
		if p.cfg.Cluster == nil {
			continue
		}
		s, err := p.live(states, record.Application, d)
		if err != nil {
			one["information"] = "status unavailable: " + dm.Public(err)
			continue
		}
		h := p.health(record.Application, c.Name, d, s)
		one["aggregate_status"], one["information"] = h.State, h.Information
		if o, ok := s.Object(kube.SparkApplication, d.Object); ok {
			said := stateOf(o)
			one["yarnId"] = said.id
			if said.page != "" && (h.State == running || h.State == withFault) {
				one["tracking_url"] = "http://" + said.page
			}
		}
		if h.State == running || h.State == withFault {
			p.addCounts(ctx, one, record.Application, c.Name, s)
		}
	}
	return list, nil
}

// yarnStates are PNDA's words about a job of the cluster, by those about a component.
var yarnStates = map[string]string{
	submitted: "SUBMITTED", accepted: "ACCEPTED", running: "RUNNING", withFault: "RUNNING", succeeded: "FINISHED", failed: "FAILED", killed: "KILLED",
}

// Details implements dm.Detailer: the jobs that Spark has given an id.
func (p *Plugin) Details(_ context.Context, record dm.PluginRecord) ([]dm.EngineJob, error) {
	var list []dm.EngineJob
	if p.cfg.Cluster == nil {
		return nil, nil
	}
	states := map[string]*kube.State{}
	for _, c := range record.Components {
		d := dataOf(&record, c.Name)
		s, err := p.live(states, record.Application, d)
		if err != nil {
			return nil, err
		}
		pods := s.Pods(record.Application, kind, c.Name)
		j := dm.EngineJob{Component: c.Name, State: yarnStates[p.health(record.Application, c.Name, d, s).State], Object: s.Namespace + "/"}
		if o, ok := s.Object(kube.SparkApplication, d.Object); ok {
			said := stateOf(o)
			j.ID, j.Began, j.Object = said.id, said.began, j.Object+"sparkapplications/"+d.Object
		} else {
			j = nativeJob(j, pods)
		}
		if j.ID != "" && j.State != "" {
			list = append(list, j)
		}
	}
	return list, nil
}

// nativeJob is j with what is known of one whose driver is a pod of ours: its id is a
// label that Spark gives the executors.
func nativeJob(j dm.EngineJob, pods []*corev1.Pod) dm.EngineJob {
	for _, pod := range pods {
		if pod.Labels[roleLabel] == "driver" && j.Began.IsZero() {
			j.Object += "pods/" + pod.Name
			j.Began = pod.CreationTimestamp.Time
		}
		if j.ID == "" {
			j.ID = pod.Labels["spark-app-selector"]
		}
	}
	return j
}

// addCounts tells what a running driver says of its jobs.
func (p *Plugin) addCounts(ctx context.Context, one map[string]any, app dm.ApplicationName, name dm.ComponentName, s *kube.State) {
	driver := driverOf(s.Pods(app, kind, name))
	if driver == nil {
		return
	}
	a := p.ask(ctx, driver)
	switch {
	case a.err != nil:
		p.cfg.Log.Debug("a driver does not tell of its jobs", "app", app, "component", name, "err", a.err)
		if one["information"] == "" {
			one["information"] = "driver UI unreachable"
		}
		return
	case a.counts.Jobs.Number == 0:
		one["information"] = cmp.Or(one["information"].(string), "No Jobs available")
	default:
		a.counts.Trouble = one["information"].(string)
		one["information"] = a.counts
	}
	one["yarnId"] = cmp.Or(a.id, one["yarnId"].(string))
	if a.counts.Jobs.Failed > 0 {
		one["aggregate_status"] = withFault
	}
}

// driverOf is the newest driver that runs.
func driverOf(pods []*corev1.Pod) *corev1.Pod {
	for _, pod := range pods {
		if (pod.Labels[roleLabel] == "driver" || pod.Labels["spark-role"] == "driver") && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			return pod
		}
	}
	return nil
}

// ask asks a driver, unless it told just now.
func (p *Plugin) ask(ctx context.Context, driver *corev1.Pod) answer {
	now := p.cfg.Clock()
	key := string(driver.UID)
	p.mu.Lock()
	a, told := p.asked[key]
	for old, one := range p.asked {
		if now.Sub(one.at) > answerTime {
			delete(p.asked, old)
		}
	}
	p.mu.Unlock()
	if told && now.Sub(a.at) <= answerTime {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	a = countsOf(func(path string) ([]byte, error) {
		return p.cfg.Cluster.AskPod(ctx, driver.Namespace, driver.Name, uiPort, path)
	})
	a.at = now
	p.mu.Lock()
	p.asked[key] = a
	p.mu.Unlock()
	return a
}

// countsOf reads Spark's REST API, "Monitoring and Instrumentation" in its
// documentation. The totals are the highest number and one, since Spark forgets old
// ones.
func countsOf(get func(path string) ([]byte, error)) (a answer) {
	var apps []struct {
		ID string `json:"id"`
	}
	if a.err = read(get, "/api/v1/applications", &apps); a.err != nil || len(apps) == 0 {
		return a
	}
	a.id = apps[0].ID
	var jobs []struct {
		ID     int    `json:"jobId"`
		Status string `json:"status"`
	}
	var stages []struct {
		ID     int    `json:"stageId"`
		Status string `json:"status"`
	}
	base := "/api/v1/applications/" + a.id
	if a.err = cmp.Or(read(get, base+"/jobs", &jobs), read(get, base+"/stages", &stages)); a.err != nil {
		return a
	}
	for _, j := range jobs {
		a.counts.Jobs.Number = max(a.counts.Jobs.Number, j.ID+1)
		switch j.Status {
		case "RUNNING":
			a.counts.Jobs.Running++
		case "SUCCEEDED":
			a.counts.Jobs.Succeeded++
		case "FAILED":
			a.counts.Jobs.Failed++
		default:
			a.counts.Jobs.Unknown++
		}
	}
	for _, s := range stages {
		a.counts.Stages.Number = max(a.counts.Stages.Number, s.ID+1)
		switch s.Status {
		case "ACTIVE":
			a.counts.Stages.Active++
		case "COMPLETE", "SKIPPED":
			a.counts.Stages.Complete++
		case "PENDING":
			a.counts.Stages.Pending++
		case "FAILED":
			a.counts.Stages.Failed++
		}
	}
	return a
}

func read(get func(string) ([]byte, error), path string, into any) error {
	raw, err := get(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// StreamLogs implements dm.LogStreamer: the drivers' logs, in which a job's own words
// are.
func (p *Plugin) StreamLogs(ctx context.Context, w io.Writer, record dm.PluginRecord, component dm.ComponentName, lines int, follow bool) error {
	const op = "spark.StreamLogs"
	if p.cfg.Cluster == nil {
		return dm.Errorf(dm.NotFound, op, "nothing runs: this server has no Spark engine configured")
	}
	d := dataOf(&record, component)
	team, err := p.cfg.Cluster.Team(d.Team)
	if err != nil {
		return dm.Errorf(dm.NotFound, op, "nothing runs").Because(err)
	}
	selector := kube.Selector(record.Application, kind, component)
	if d.Engine == Native {
		selector[roleLabel] = "driver"
	} else {
		selector["spark-role"] = "driver"
	}
	return p.cfg.Cluster.Logs(ctx, w, team.Namespace, selector, lines, follow)
}
