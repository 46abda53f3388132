package spark

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
)

// TestOperatorStates holds each state of the operator to PNDA's word and to what it says.
func TestOperatorStates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	p, err := New(Config{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	stopped, started, again := data{}, data{Started: true}, data{Started: true, Again: true}
	for _, c := range []struct {
		state   string
		d       data
		age     time.Duration
		more    string // of the status, as key=value
		want    string
		because string
	}{
		{"", stopped, 0, "", created, ""},
		{"", stopped, 2 * time.Minute, "", created, "no operator has touched sparkapplications/count"},
		{"", started, time.Second, "", submitted, ""},
		{"", started, 2 * time.Minute, "", submitted, "does it watch the namespace pnda?"},
		{"SUSPENDED", stopped, 0, "", created, ""},
		{"SUSPENDED", stopped, 0, "submissionID=a", killed, "stopped"},
		{"SUSPENDED", started, time.Second, "submissionID=a", submitted, ""},
		{"SUSPENDED", started, 2 * time.Minute, "submissionID=a", submitted, "no operator has touched"},
		{"SUSPENDING", stopped, 0, "", created, ""},
		{"SUSPENDING", stopped, 0, "submissionID=a", running, "being stopped"},
		{"RESUMING", started, 0, "", submitted, ""},
		{"SUBMITTED", started, 0, "", accepted, ""},
		{"RUNNING", started, 0, "", running, ""},
		{"RUNNING", started, 0, "executor=FAILED", withFault, "executors that failed: 1"},
		{"SUCCEEDING", started, 0, "", running, ""},
		{"COMPLETED", started, 0, "", succeeded, ""},
		{"COMPLETED", started, 5 * time.Second, "ended=2026-12-01T11:00:00Z", submitted, ""}, // the run before
		{"COMPLETED", started, 2 * time.Minute, "ended=2026-12-01T11:00:00Z", succeeded, ""},
		{"COMPLETED", stopped, 5 * time.Second, "ended=2026-12-01T11:00:00Z", succeeded, ""},
		{"FAILING", again, 0, "message=exit code 1", accepted, "being run again after attempt 3: exit code 1"},
		{"FAILING", started, 0, "message=exit code 1", accepted, "exit code 1"},
		{"PENDING_RERUN", again, 0, "", accepted, "being run again after attempt 3"},
		{"INVALIDATING", started, 0, "", accepted, "being run again"},
		{"SUBMISSION_FAILED", again, 0, "message=no image", accepted, "tried again: no image"},
		{"SUBMISSION_FAILED", started, 0, "message=no image", failed, "no image"},
		{"FAILED", started, 0, "message=networkpolicies.networking.k8s.io is forbidden", failed, "spark.images"},
		{"UNKNOWN", started, 0, "", withFault, "does not answer"},
		{"NOVEL", started, 0, "", accepted, "NOVEL"},
	} {
		status := map[string]any{"executionAttempts": int64(3)}
		of := map[string]any{"state": c.state}
		switch key, value, _ := strings.Cut(c.more, "="); key {
		case "submissionID":
			status[key] = value
		case "executor":
			status["executorState"] = map[string]any{"count-exec-1": value, "count-exec-2": "RUNNING"}
		case "ended":
			status["terminationTime"] = value
		case "message":
			of["errorMessage"] = value
		}
		status["applicationState"] = of
		o := &unstructured.Unstructured{Object: map[string]any{"status": status}}
		made := metav1.NewTime(now.Add(-c.age))
		o.SetName("count")
		o.SetCreationTimestamp(made)
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "pnda-dm", Time: &made}})
		h := p.operatorHealth(c.d, o, "pnda", nil)
		if h.State != c.want || !strings.Contains(h.Information, c.because) || c.because == "" && h.Information != "" {
			t.Errorf("%s %+v %s: %s %q, want %s %q", c.state, c.d, c.more, h.State, h.Information, c.want, c.because)
		}
	}
}

// TestNativeStates holds what is said of a job whose driver is a pod of ours.
func TestNativeStates(t *testing.T) {
	t.Parallel()
	pod := func(role, run string, phase corev1.PodPhase, container corev1.ContainerState) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: role + "-1", Labels: map[string]string{roleLabel: role}, Annotations: map[string]string{runNote: run}},
			Status:     corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: container}}},
		}
	}
	up := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	down := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}
	once, always := data{Started: true, Run: "2"}, data{Started: true, Run: "2", Again: true}
	for _, c := range []struct {
		name    string
		d       data
		gone    bool
		pods    []*corev1.Pod
		want    string
		because string
	}{
		{"never started", data{Run: "2"}, false, nil, created, ""},
		{"stopped", data{Run: "2", Ran: true}, false, nil, killed, "stopped"},
		{"being stopped", data{Run: "2", Ran: true}, false, []*corev1.Pod{pod("driver", "2", corev1.PodRunning, up)}, running, "being stopped"},
		{"no pod yet", always, false, nil, submitted, ""},
		{"that of the run before", always, false, []*corev1.Pod{pod("driver", "1", corev1.PodRunning, up)}, submitted, ""},
		{"waits for its image", always, false, []*corev1.Pod{pod("driver", "2", corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}})}, accepted, "ImagePullBackOff"},
		{"runs", always, false, []*corev1.Pod{pod("driver", "2", corev1.PodRunning, up)}, running, ""},
		{"an executor has trouble", always, false, []*corev1.Pod{pod("driver", "2", corev1.PodRunning, up), pod("executor", "", corev1.PodFailed, ended)}, running, "exit code 3"},
		{"between two starts", always, false, []*corev1.Pod{pod("driver", "2", corev1.PodRunning, down)}, accepted, "CrashLoopBackOff"},
		{"ended well", once, false, []*corev1.Pod{pod("driver", "2", corev1.PodSucceeded, corev1.ContainerState{})}, succeeded, ""},
		{"ended ill", once, false, []*corev1.Pod{pod("driver", "2", corev1.PodFailed, ended)}, failed, "exit code 3"},
		{"removed while it ran", always, true, nil, notFound, "removed by others"},
		{"removed", data{Run: "2"}, true, nil, notFound, "removed by others"},
	} {
		h := nativeHealth(c.d, !c.gone, c.pods)
		if h.State != c.want || !strings.Contains(h.Information, c.because) || c.because == "" && h.Information != "" {
			t.Errorf("%s: %s %q, want %s %q", c.name, h.State, h.Information, c.want, c.because)
		}
	}
}

// TestCounts holds what is made of the answers of a driver, as Spark's documentation
// has them.
func TestCounts(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/api/v1/applications":              `[{"id": "spark-1", "name": "count"}]`,
		"/api/v1/applications/spark-1/jobs": `[{"jobId": 1004, "status": "RUNNING"}, {"jobId": 1003, "status": "FAILED"}, {"jobId": 1002, "status": "SUCCEEDED"}, {"jobId": 1001, "status": "UNKNOWN"}]`,
		"/api/v1/applications/spark-1/stages": `[{"stageId": 9, "status": "ACTIVE"}, {"stageId": 8, "status": "SKIPPED"}, {"stageId": 7, "status": "COMPLETE"},
			{"stageId": 6, "status": "PENDING"}, {"stageId": 5, "status": "FAILED"}]`,
	}
	full := counts{jobCounts{1005, 1, 1, 1, 1}, stageCounts{10, 1, 2, 1, 1}, ""}
	for _, c := range []struct {
		name    string
		change  map[string]string
		want    counts
		faulty  bool
		wantsID string
	}{
		{"all", nil, full, false, "spark-1"},
		{"no job yet", map[string]string{"/api/v1/applications/spark-1/jobs": "[]", "/api/v1/applications/spark-1/stages": "[]"}, counts{}, false, "spark-1"},
		{"not ready", map[string]string{"/api/v1/applications": "[]"}, counts{}, false, ""},
		{"no JSON", map[string]string{"/api/v1/applications": "Spark is starting up"}, counts{}, true, ""},
		{"no answer about stages", map[string]string{"/api/v1/applications/spark-1/stages": ""}, counts{}, true, "spark-1"},
	} {
		given := maps.Clone(answers)
		maps.Copy(given, c.change)
		driver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if given[q.URL.Path] == "" {
				http.Error(w, "no", http.StatusServiceUnavailable)
			}
			fmt.Fprint(w, given[q.URL.Path])
		}))
		a := countsOf(func(path string) ([]byte, error) {
			answer, err := http.Get(driver.URL + path)
			if err != nil {
				return nil, err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return nil, fmt.Errorf("%s", answer.Status)
			}
			return io.ReadAll(answer.Body)
		})
		driver.Close()
		if (a.err != nil) != c.faulty || !c.faulty && a.counts != c.want || a.id != c.wantsID {
			t.Errorf("%s: %+v, want %+v, a fault %v, the id %q", c.name, a, c.want, c.faulty, c.wantsID)
		}
	}
}

// TestRemarks holds what is told of packages like those of PNDA's own examples.
func TestRemarks(t *testing.T) {
	t.Parallel()
	p, err := New(Config{Images: map[string]string{"4.3.0": "spark:4.3.0"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ properties, job, want string }{
		{`"spark_version": "4"`, "print('x')\nprinted = print\n", ""},
		{``, "", "sparkStreaming/count/properties.json: spark_version is not set, for which PNDA took 1: Spark 4.3.0 is used"},
		{`"spark_version": "2"`, "", "spark_version 2 is not run here, Spark 4.3.0 is used"},
		{`"spark_version": "4", "spark_submit_args": "--conf spark.yarn.maxAppAttempts=1"`, "", "spark.yarn.maxAppAttempts is ignored"},
		{`"spark_version": "4", "spark_submit_args": "--jars hdfs:///pnda/x.jar"`, "", "names no name node"},
		{`"spark_version": "4"`, "if x:\n    print 'x'\n", "sparkStreaming/count/job.py: it has a print statement of Python 2"},
		{`"spark_version": "4"`, "import ConfigParser\n", "a module of Python 2"},
		{`"spark_version": "4"`, "try:\n  pass\nexcept Exception, e:\n  pass\n", "an except clause of Python 2"},
		{`"spark_version": "4"`, "from pyspark.streaming.kafka import KafkaUtils\n", "which Spark 3 does not have"},
	} {
		files := fstest.MapFS{"job.py": {Data: []byte(c.job)}}
		properties := `{"main_py": "job.py"`
		if c.properties != "" {
			properties += ", " + c.properties
		}
		parsed, err := dm.ParseProperties([]byte(properties + "}"))
		if err != nil {
			t.Fatal(err)
		}
		notes, err := p.Remarks(dm.PackageComponent{Type: kind, Name: "count", Properties: parsed, Files: files})
		if got := strings.Join(notes, "; "); err != nil || !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s %q: %q, %v; want %q", c.properties, c.job, got, err, c.want)
		}
	}
}
