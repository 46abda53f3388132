package kube_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/deploy/testcluster"
	"github.com/pndaproject/deployment-manager/plugins/kube"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
	"github.com/pndaproject/deployment-manager/plugins/spark"
)

const sparkType = dm.ComponentType("sparkStreaming")

var sparks = schema.GroupVersionResource{Group: "sparkoperator.k8s.io", Version: "v1beta2", Resource: "sparkapplications"}

// The release of the Kubeflow Spark operator whose definitions the tests install.
const (
	operatorModule = "github.com/kubeflow/spark-operator/v2"
	operatorFile   = "config/crd/bases/sparkoperator.k8s.io_sparkapplications.yaml"
	operatorSum    = "h1:6nX2UhwSfnYi1mtwczgFfJTMeLSL/1ajTvkFe8R7Vdc=" // of v2.5.2, as go.sum has it
)

// TestSpark runs components of the type sparkStreaming on a control plane that has the
// operator's kinds, and not the operator: what that would do, the tests write.
func TestSpark(t *testing.T) {
	t.Parallel()
	cluster, err := testcluster.Start(t.Context(), testcluster.Options{Kwok: true, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	newRig(t, cluster, nil).installOperator()
	t.Run("operator", func(t *testing.T) { sparkContract(t, cluster, spark.Operator, "always") })
	t.Run("native, always", func(t *testing.T) { sparkContract(t, cluster, spark.Native, "always") })
	t.Run("native, once", func(t *testing.T) { sparkContract(t, cluster, spark.Native, "no") })
	t.Run("life with the operator", func(t *testing.T) { sparkOperated(newSparkRig(t, cluster, spark.Auto)) })
	t.Run("life without", func(t *testing.T) { sparkNative(newSparkRig(t, cluster, spark.Native)) })
	t.Run("refused", func(t *testing.T) { sparkRefused(newSparkRig(t, cluster, spark.Auto)) })
}

// installOperator makes the kind SparkApplication known.
func (r *rig) installOperator() {
	r.Helper()
	download := exec.CommandContext(r.Context(), "go", "mod", "download", "-json", operatorModule+"@v2.5.2")
	download.Dir = r.TempDir() // in no module, whose go.sum would have to have it
	answer, err := download.Output()
	r.must(err)
	var module struct{ Dir, Sum string }
	r.must(json.Unmarshal(answer, &module))
	if module.Sum != operatorSum {
		r.Fatalf("the module of the operator has the sum %s, want %s", module.Sum, operatorSum)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, operatorFile))
	r.must(err)
	definition := &unstructured.Unstructured{}
	r.must(yaml.Unmarshal(text, &definition.Object))
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	_, err = r.dynamic.Resource(definitions).Create(r.Context(), definition, metav1.CreateOptions{})
	r.must(err)
	eventually(r.T, "the kind is served", func() error {
		if serves, err := r.kube.Serves(r.Context(), kube.SparkApplication); err != nil || !serves {
			return cmp.Or(err, errors.New("it is not"))
		}
		return nil
	})
	r.apply(r.set("first", sparkApplication("first", map[string]any{
		"type": "Python", "sparkVersion": "4.3.0", "mainApplicationFile": "x.py", "driver": map[string]any{}, "executor": map[string]any{}, "suspend": true,
	})))
	eventually(r.T, "the cluster's own controllers know the kind", func() error { return r.kube.Destroy(r.Context(), "first", sort) })
}

// sparkRig is a server's plugin in a namespace of its own, which Pod Security guards.
type sparkRig struct {
	*rig
	engine string
	plugin *spark.Plugin
	files  fstest.MapFS
	last   *dm.PluginRecord
}

func newSparkRig(t *testing.T, cluster *testcluster.Cluster, engine string) *sparkRig {
	t.Parallel()
	r := &sparkRig{rig: newRig(t, cluster, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}), engine: engine}
	r.files = fstest.MapFS{
		"properties.json":        {Data: []byte(`{"main_py": "job.py", "executors_num": 1}`)},
		"application.properties": {Data: []byte("a=1\n")}, "log4j.properties": {Data: []byte("log4j.rootLogger=WARN\n")}, "job.py": {Data: []byte("print('x')\n")},
	}
	r.restart(nil)
	return r
}

// restart is a server that has just started; its requests go by way of w.
func (r *sparkRig) restart(w *wire) {
	r.Helper()
	config := r.user
	if w != nil {
		config = r.wired(w)
	}
	cluster := r.newKube(config)
	var err error
	r.plugin, err = spark.New(spark.Config{Cluster: cluster, Files: namedFiles{}, Images: map[string]string{"4.3.0": "example/spark:4.3.0"}, Engine: r.engine})
	r.must(err)
	watched := make(chan struct{})
	ctx, cancel := context.WithCancel(r.background())
	plugin := r.plugin
	go func() {
		defer close(watched)
		if err := plugin.Watch(ctx, func(dm.ApplicationName) {}); err != nil {
			r.Error(err)
		}
	}()
	r.Cleanup(func() { cancel(); <-watched })
	eventually(r.T, "the namespace has been read", func() error {
		_, err := cluster.Live("none", sparkType, r.team())
		return err
	})
}

// namedFiles makes addresses that nothing serves.
type namedFiles struct{}

func (namedFiles) Address(f dm.DeliveredFile, digest [32]byte) string {
	return fmt.Sprintf("http://files.example/%x/%s/%s", digest[:4], f.Component, f.Path)
}

func (r *sparkRig) request(desired dm.Revision, state dm.WantedState) dm.ApplyRequest {
	tree := fstest.MapFS{}
	component := dm.Component{Type: sparkType, Name: "count"}
	for path, f := range r.files {
		tree["count/"+path] = f
		component.Files = append(component.Files, dm.File{Path: path, Content: f.Data})
	}
	return dm.ApplyRequest{
		Application: "noon-run", Owner: "ana", Team: team, Desired: desired, State: state, Deployment: 1,
		Components: []dm.Component{component}, Files: tree, Previous: r.last,
	}
}

func (r *sparkRig) bring(desired dm.Revision, state dm.WantedState) {
	r.Helper()
	record, err := r.plugin.Apply(r.Context(), r.request(desired, state))
	r.must(err)
	r.last = &record
}

// does waits until the component does that, and says because.
func (r *sparkRig) does(state, because string) dm.Health {
	r.Helper()
	var h dm.Health
	eventually(r.T, "the component is "+state, func() error {
		list, err := r.plugin.Observe(r.Context(), *r.last)
		if err == nil && (len(list) != 1 || list[0].State != state || !strings.Contains(list[0].Information, because)) {
			err = fmt.Errorf("it is %+v", list)
		}
		if err == nil {
			h = list[0]
		}
		return err
	})
	return h
}

// gone holds that nothing stands after a destroy by names.
func (r *sparkRig) gone() {
	r.Helper()
	r.must(r.plugin.Destroy(r.Context(), dm.PluginRecord{Type: sparkType, Application: "noon-run"}))
	if left := standingSparks(r.rig, "noon-run", true); len(left) > 0 {
		r.Errorf("destroyed, there are %v", left)
	}
}

// standingSparks are the objects of an application that are not being removed, or all.
func standingSparks(r *rig, app dm.ApplicationName, all bool) []string {
	var names []string
	for _, of := range []schema.GroupVersionResource{configMaps, services, deployments, jobs, sparks} {
		list, err := r.dynamic.Resource(of).Namespace(r.namespace).List(r.background(), metav1.ListOptions{})
		r.must(err)
		for _, o := range list.Items {
			if o.GetAnnotations()["pnda.io/application"] == string(app) && (all || o.GetDeletionTimestamp() == nil) {
				names = append(names, of.Resource+"/"+o.GetName())
			}
		}
	}
	slices.Sort(names)
	return names
}

// sparkContract runs the contract of plugins. There are no logs to show: nothing runs.
func sparkContract(t *testing.T, cluster *testcluster.Cluster, engine, respawn string) {
	t.Parallel()
	properties, err := dm.ParseProperties([]byte(`{"main_py": "job.py", "respawn_type": "` + respawn + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{
		"properties.json":        {Data: []byte(`{"main_py": "job.py", "respawn_type": "` + respawn + `"}`)},
		"application.properties": {Data: []byte("a=1\n")}, "log4j.properties": {Data: []byte("log4j.rootLogger=WARN\n")}, "job.py": {Data: []byte("print('x')\n")},
	}
	plugintest.Run(t, plugintest.Harness{
		New: func(t *testing.T) (dm.Plugin, func() []string) {
			r := &sparkRig{rig: newRig(t, cluster, nil), engine: engine}
			r.restart(nil)
			p := r.plugin
			return &ofTeam{p, p, p, p, p, p}, func() []string { return standingSparks(r.rig, "contract", false) }
		},
		Files: files, Properties: properties, Mandatory: []string{"missing file application.properties", "missing file log4j.properties"},
	})
}

// ofTeam is a plugin as the dispatcher uses it: for a team, and again while it is to
// be tried again.
type ofTeam struct {
	dm.Plugin
	dm.FileRuler
	dm.Observer
	dm.Watcher
	dm.Summarizer
	dm.Prober
}

// Apply implements dm.Plugin.
func (p *ofTeam) Apply(ctx context.Context, r dm.ApplyRequest) (record dm.PluginRecord, err error) {
	r.Team = team
	again := testcluster.Eventually(ctx, func() error {
		record, err = p.Plugin.Apply(ctx, r)
		if dm.KindOf(err) == dm.Unavailable && ctx.Err() == nil {
			return err
		}
		return nil
	})
	return record, cmp.Or(err, again)
}

// sparkOperated is the life of a component with the operator, whose part is played by
// what is written into the status.
func sparkOperated(r *sparkRig) {
	name := kube.Name("noon-run", string(sparkType), "count")
	run := func() (suspended bool, run, version string) {
		o := r.get(sparks, name)
		suspended, _, _ = unstructured.NestedBool(o.Object, "spec", "suspend")
		run, _, _ = unstructured.NestedString(o.Object, "spec", "driver", "annotations", "pnda.io/run")
		return suspended, run, o.GetResourceVersion()
	}
	operator := func(status string) {
		r.Helper()
		_, err := r.dynamic.Resource(sparks).Namespace(r.namespace).Patch(r.Context(), name, types.MergePatchType, []byte(`{"status": `+status+`}`),
			metav1.PatchOptions{FieldManager: "spark-operator"}, "status")
		r.must(err)
	}
	findings, err := r.plugin.Probe(r.Context(), r.request("c1", dm.WantCreated))
	if err != nil || len(findings) > 0 {
		r.Fatalf("a good job is refused: %v, %v", findings, err)
	}
	if left := standingSparks(r.rig, "noon-run", true); len(left) > 0 {
		r.Errorf("the probe made %v", left)
	}

	r.bring("c1", dm.WantCreated)
	if suspended, _, _ := run(); !suspended {
		r.Error("created, it is not suspended")
	}
	r.does("CREATED", "")
	operator(`{"driverInfo": {}, "applicationState": {"state": "SUSPENDED"}}`)
	r.does("CREATED", "")

	r.bring("c2", dm.WantStarted)
	suspended, first, _ := run()
	if suspended || !strings.HasPrefix(first, "c2") {
		r.Errorf("started, it is suspended %t, the run %q", suspended, first)
	}
	r.does("SUBMITTED", "")
	operator(`{"submissionID": "a", "sparkApplicationId": "spark-1", "applicationState": {"state": "RUNNING"}}`)
	r.does("RUNNING", "")
	summary, err := r.plugin.Summarize(r.Context(), *r.last, dm.Started)
	if err != nil || summary[0]["aggregate_status"] != "RUNNING" || summary[0]["yarnId"] != "spark-1" || summary[0]["componentType"] != "SparkStreaming" {
		r.Errorf("the summary is %v, %v", summary, err)
	}

	jobs, err := r.plugin.Details(r.Context(), *r.last)
	if want := r.namespace + "/sparkapplications/" + name; err != nil || len(jobs) != 1 || jobs[0].ID != "spark-1" || jobs[0].State != "RUNNING" || jobs[0].Object != want {
		r.Errorf("the job is %+v, %v; want %s", jobs, err, want)
	}

	_, _, before := run()
	w := &wire{}
	r.restart(w)                           // which applies what was applied
	r.last.Components[0].State = "RUNNING" // as it was seen
	r.bring("c2", dm.WantStarted)
	if state := r.last.Components[0].State; state != "RUNNING" {
		r.Errorf("applied again, it is %s, want it to go on", state)
	}
	if _, again, version := run(); again != first || version != before || len(w.writes) > 0 && !onlyTried(w) {
		r.Errorf("applied again, the run is %s and the version %s, want %s and %s; written were %v", again, version, first, before, w.writes)
	}

	r.patch(sparks, name, `{"spec":{"suspend":true}}`)
	eventually(r.T, "the drift is seen", func() error {
		if h := r.does("RUNNING", ""); len(h.Drift) != 1 || h.Drift[0].Field != ".spec.suspend" || h.Drift[0].By != "kubectl-edit" {
			return fmt.Errorf("it is %+v", h.Drift)
		}
		return nil
	})
	r.files["properties.json"].Data = []byte(`{"main_py": "job.py", "executors_num": 2}`)
	findings, err = r.plugin.Probe(r.Context(), r.request("c3", dm.WantStarted))
	if err != nil || len(findings) > 0 {
		r.Errorf("a good change is refused: %v, %v", findings, err)
	}
	r.bring("c3", dm.WantStarted)
	suspended, second, _ := run()
	if suspended || second == first {
		r.Errorf("changed, it is suspended %t, the run %q", suspended, second)
	}

	r.bring("c4", dm.WantCreated)
	if suspended, third, _ := run(); !suspended || third != second {
		r.Errorf("stopped, it is suspended %t, the run %q, want that before, %q", suspended, third, second)
	}
	operator(`{"applicationState": {"state": "SUSPENDED"}}`)
	r.does("KILLED", "stopped")
	r.must(r.dynamic.Resource(sparks).Namespace(r.namespace).Delete(r.Context(), name, metav1.DeleteOptions{}))
	r.does("NOT_FOUND", "removed by others")
	r.gone()
}

// onlyTried tells whether all that a client wrote are patches, of which the API server
// makes nothing when they say what there is.
func onlyTried(w *wire) bool {
	return !slices.ContainsFunc(w.writes, func(text string) bool { return !strings.HasPrefix(text, "PATCH ") })
}

// sparkNative is the life of a component whose driver is a pod of ours.
func sparkNative(r *sparkRig) {
	name := kube.Name("noon-run", string(sparkType), "count")
	r.bring("c1", dm.WantCreated)
	r.does("CREATED", "")
	r.bring("c2", dm.WantStarted)
	r.does("RUNNING", "")
	pods, err := r.client.CoreV1().Pods(r.namespace).List(r.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 1 || !strings.HasPrefix(pods.Items[0].Name, name) {
		r.Errorf("there are the pods %v, %v", pods.Items, err)
	}
	r.bring("c3", dm.WantCreated)
	r.does("KILLED", "stopped")

	r.files["properties.json"].Data = []byte(`{"main_py": "job.py", "respawn_type": "no"}`)
	r.bring("c4", dm.WantCreated)
	r.bring("c5", dm.WantStarted)
	r.does("FINISHED_SUCCEEDED", "")
	r.bring("c5", dm.WantStarted)
	r.bring("c6", dm.WantCreated)
	r.bring("c7", dm.WantStarted)
	r.does("FINISHED_SUCCEEDED", "")
	r.gone()
}

// sparkRefused is what is told before a change is accepted.
func sparkRefused(r *sparkRig) {
	r.limit(corev1.ResourceList{corev1.ResourceRequestsMemory: resource.MustParse("4Gi"), corev1.ResourceRequestsCPU: resource.MustParse("8")})
	for _, c := range []struct {
		properties string
		team       string
		want       []string
	}{
		{`{"main_py": "job.py", "executors_mem": "16g"}`, team, []string{"executor pod", "quota share"}},
		{`{"main_py": "job.py", "main_args": {}}`, team, []string{"main_args must be a text or a number"}},
		{`{"main_py": "job.py"}`, "", []string{"in no team that may run work on the cluster"}},
		{`{"main_py": "job.py"}`, "others", []string{`no such team in kubernetes.teams: "others"`}},
	} {
		r.files["properties.json"].Data = []byte(c.properties)
		q := r.request("c1", dm.WantCreated)
		q.Team = c.team
		findings, err := r.plugin.Probe(r.Context(), q)
		text := dm.JoinFindings(findings)
		if err != nil || slices.ContainsFunc(c.want, func(part string) bool { return !strings.Contains(text, part) }) {
			r.Errorf("%s of the team %q: %q, %v; want %q", c.properties, c.team, text, err, c.want)
		}
	}
}
