package spark

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// The states of a component, as PNDA spells them for this type.
const (
	created   = "CREATED"
	submitted = "SUBMITTED"
	accepted  = "ACCEPTED"
	running   = "RUNNING"
	withFault = "RUNNING_WITH_ERRORS"
	succeeded = "FINISHED_SUCCEEDED"
	failed    = "FAILED"
	killed    = "KILLED"
	notFound  = "NOT_FOUND"
)

// patience is how long an operator may take to say its first word about an object.
const patience = time.Minute

// Watch implements dm.Watcher.
func (p *Plugin) Watch(ctx context.Context, notice func(dm.ApplicationName)) error {
	if p.cfg.Cluster == nil {
		<-ctx.Done()
		return nil
	}
	return p.cfg.Cluster.Watch(ctx, kind, notice)
}

// Observe implements dm.Observer.
func (p *Plugin) Observe(ctx context.Context, record dm.PluginRecord) ([]dm.Health, error) {
	const op = "spark.Observe"
	if err := plugins.Interrupted(ctx, op); err != nil {
		return nil, err
	}
	if p.cfg.Cluster == nil {
		return nil, dm.Errorf(dm.Unavailable, op, "this server has no Spark engine configured")
	}
	var list []dm.Health
	states := map[string]*kube.State{}
	for _, c := range record.Components {
		d := dataOf(&record, c.Name)
		s, err := p.live(states, record.Application, d)
		if err != nil {
			return nil, err
		}
		h := p.health(record.Application, c.Name, d, s)
		h.Component, h.Drift = c.Name, s.Drift(c.Name)
		list = append(list, h)
	}
	return list, nil
}

// live is what stands in the namespace of a component's team, asked for once.
func (p *Plugin) live(states map[string]*kube.State, app dm.ApplicationName, d data) (*kube.State, error) {
	if s := states[d.Team]; s != nil {
		return s, nil
	}
	team, err := p.cfg.Cluster.Team(d.Team)
	if err != nil {
		return nil, err
	}
	s, err := p.cfg.Cluster.Live(app, kind, team)
	states[d.Team] = s
	return s, err
}

// health is how one component does.
func (p *Plugin) health(app dm.ApplicationName, name dm.ComponentName, d data, s *kube.State) dm.Health {
	pods := s.Pods(app, kind, name)
	if d.Engine == Native {
		return nativeHealth(d, stands(d, s), pods)
	}
	o, ok := s.Object(kube.SparkApplication, d.Object)
	if !ok {
		return gone(d)
	}
	return p.operatorHealth(d, o, s.Namespace, pods)
}

func gone(d data) dm.Health {
	if !d.Started {
		return dm.Health{State: notFound, Information: "what stood for it was removed by others; the next change makes it again"}
	}
	return dm.Health{State: notFound, Information: "what ran it was removed by others; stop and start the application to run it again"}
}

// operatorState is what the operator says of a SparkApplication.
type operatorState struct {
	state, message, id, submission string
	page                           string // of the driver's UI, for people; "" without an ingress
	attempts                       int64
	began, ended                   time.Time // of the last run; zero when it did not
	executorsFailed                int
}

func stateOf(o *unstructured.Unstructured) (s operatorState) {
	text := func(path ...string) string { t, _, _ := unstructured.NestedString(o.Object, path...); return t }
	s.state, s.message = text("status", "applicationState", "state"), text("status", "applicationState", "errorMessage")
	s.id, s.submission = text("status", "sparkApplicationId"), text("status", "submissionID")
	s.began, _ = time.Parse(time.RFC3339, text("status", "lastSubmissionAttemptTime")) // "null" when there was none
	s.ended, _ = time.Parse(time.RFC3339, text("status", "terminationTime"))
	s.page = text("status", "driverInfo", "webUIIngressAddress")
	s.attempts, _, _ = unstructured.NestedInt64(o.Object, "status", "executionAttempts")
	executors, _, _ := unstructured.NestedStringMap(o.Object, "status", "executorState")
	for _, state := range executors {
		if state == "FAILED" {
			s.executorsFailed++
		}
	}
	return s
}

// operatorHealth turns the operator's states into PNDA's; all fourteen are here.
func (p *Plugin) operatorHealth(d data, o *unstructured.Unstructured, namespace string, pods []*corev1.Pod) dm.Health {
	s := stateOf(o)
	if (s.state == "COMPLETED" || s.state == "FAILED") && p.begins(o, d, s.ended) {
		return dm.Health{State: submitted}
	}
	told := known(plain(s.message))
	switch s.state {
	case "", "NEW":
		if !d.Started {
			return dm.Health{State: created, Information: p.untouched(o, namespace)}
		}
		return dm.Health{State: submitted, Information: p.untouched(o, namespace)}
	case "SUSPENDED":
		switch {
		case d.Started: // the run that was asked for has not begun
			return dm.Health{State: submitted, Information: p.untouchedSince(o, namespace)}
		case s.submission == "" && s.id == "":
			return dm.Health{State: created}
		}
		return dm.Health{State: killed, Information: "stopped"}
	case "SUSPENDING":
		if s.submission == "" {
			return dm.Health{State: created}
		}
		return dm.Health{State: running, Information: "being stopped"}
	case "RESUMING":
		return dm.Health{State: submitted}
	case "SUBMITTED":
		return dm.Health{State: accepted, Information: trouble(pods)}
	case "RUNNING", "SUCCEEDING":
		if s.executorsFailed > 0 {
			return dm.Health{State: withFault, Information: cmp.Or(trouble(pods), fmt.Sprintf("executors that failed: %d", s.executorsFailed))}
		}
		return dm.Health{State: running, Information: trouble(pods)}
	case "COMPLETED":
		return dm.Health{State: succeeded}
	case "FAILING", "PENDING_RERUN", "INVALIDATING":
		return dm.Health{State: accepted, Information: strings.TrimSuffix(fmt.Sprintf("being run again after attempt %d: %s", s.attempts, told), ": ")}
	case "SUBMISSION_FAILED":
		if d.Again {
			return dm.Health{State: accepted, Information: "could not be submitted and is tried again: " + told}
		}
		return dm.Health{State: failed, Information: cmp.Or(told, "could not be submitted")}
	case "FAILED":
		return dm.Health{State: failed, Information: cmp.Or(told, trouble(pods))}
	case "UNKNOWN":
		return dm.Health{State: withFault, Information: cmp.Or(told, "the node of the driver does not answer")}
	}
	return dm.Health{State: accepted, Information: "the Spark operator says " + plain(s.state)}
}

// untouched says, after a while, that no operator has taken notice of an object.
func (p *Plugin) untouched(o *unstructured.Unstructured, namespace string) string {
	if p.cfg.Clock().Sub(o.GetCreationTimestamp().Time) < patience {
		return ""
	}
	return idle(o.GetName(), namespace)
}

func idle(name, namespace string) string {
	return fmt.Sprintf("no operator has touched sparkapplications/%s: is the Spark operator running, and does it watch the namespace %s?", name, namespace)
}

// writtenAt is when the server last changed what it wants of an object.
func writtenAt(o *unstructured.Unstructured) (last time.Time) {
	for _, m := range o.GetManagedFields() {
		if m.Manager == "pnda-dm" && m.Time != nil && m.Time.After(last) {
			last = m.Time.Time
		}
	}
	return last
}

// untouchedSince is untouched for an object that was started after it was made.
func (p *Plugin) untouchedSince(o *unstructured.Unstructured, namespace string) string {
	if p.cfg.Clock().Sub(writtenAt(o)) < patience {
		return ""
	}
	return idle(o.GetName(), namespace)
}

// begins tells whether a run that has ended is the one before that which was asked for
// just now.
func (p *Plugin) begins(o *unstructured.Unstructured, d data, ended time.Time) bool {
	written := writtenAt(o)
	return d.Started && !ended.IsZero() && ended.Before(written) && p.cfg.Clock().Sub(written) < patience
}

// trouble is that of the newest pod that has one.
func trouble(pods []*corev1.Pod) string {
	for _, pod := range pods {
		if text := kube.PodTrouble(pod); text != "" && pod.DeletionTimestamp == nil {
			return text
		}
	}
	return ""
}

// known adds the cause to a message of which it is known.
func known(message string) string {
	if strings.Contains(message, "networkpolicies") && strings.Contains(message, "forbidden") {
		return "Spark 4.3 makes a NetworkPolicy, for which the operator has no right: spark.images names a version below the one that runs; " + message
	}
	return message
}

func plain(text string) string {
	const most = 600
	text = dm.OneLine(strings.Join(strings.Fields(text), " "))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}

// stands tells whether there is what runs a component without an operator.
func stands(d data, s *kube.State) bool {
	ok := true
	switch {
	case d.Again:
		_, ok = s.Object(appsv1.SchemeGroupVersion.WithKind("Deployment"), d.Object)
	case d.Started:
		_, ok = s.Object(jobKind, made{data: d}.runName())
	}
	return ok && s.Present
}

// nativeHealth is how a component does whose driver is a pod of ours.
func nativeHealth(d data, stands bool, pods []*corev1.Pod) dm.Health {
	drivers := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return p.Labels[roleLabel] != "driver" })
	current := slices.DeleteFunc(slices.Clone(drivers), func(p *corev1.Pod) bool { return p.Annotations[runNote] != d.Run })
	switch {
	case !d.Started && slices.ContainsFunc(drivers, alive):
		return dm.Health{State: running, Information: "being stopped"}
	case !stands:
		return gone(d)
	case !d.Started && d.Ran:
		return dm.Health{State: killed, Information: "stopped"}
	case !d.Started:
		return dm.Health{State: created}
	case len(current) == 0:
		return dm.Health{State: submitted, Information: trouble(drivers)}
	}
	driver := current[0]
	switch {
	case driver.Status.Phase == corev1.PodSucceeded:
		return dm.Health{State: succeeded}
	case driver.Status.Phase == corev1.PodFailed && !d.Again:
		return dm.Health{State: failed, Information: cmp.Or(kube.PodTrouble(driver), "the driver failed")}
	case driver.Status.Phase != corev1.PodRunning || waits(driver):
		return dm.Health{State: accepted, Information: kube.PodTrouble(driver)}
	}
	executors := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return p.Labels[roleLabel] != "executor" })
	return dm.Health{State: running, Information: trouble(executors)}
}

func alive(p *corev1.Pod) bool {
	return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// waits tells whether the driver's container is not running, as between two starts.
func waits(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Running == nil })
}
