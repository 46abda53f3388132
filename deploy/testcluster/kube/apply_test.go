package kube_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// settled waits until the controllers have written the last of the status of "web" and
// "run".
func (r *rig) settled() {
	r.Helper()
	eventually(r.T, "the Deployment and the Job are as they stay", func() error {
		web, err := r.client.AppsV1().Deployments(r.namespace).Get(r.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		run, err := r.client.BatchV1().Jobs(r.namespace).Get(r.Context(), "run", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range web.Status.Conditions {
			if c.Type == appsv1.DeploymentProgressing && c.Reason == "NewReplicaSetAvailable" && len(run.Status.Conditions) > 0 {
				return nil
			}
		}
		return fmt.Errorf("%v and %v", web.Status.Conditions, run.Status.Conditions)
	})
}

// TestApplyTwice holds that what is as wanted is not written again, by this server and
// by one that has just started, and what others changed is put back.
func TestApplyTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	s := r.set("twice", configMap("settings", "1"), service("ui"), deployment("web"), job("run"))
	r.apply(s)
	r.settled()
	before := r.want("twice", "configmaps/settings", "services/ui", "deployments/web", "jobs/run")
	r.apply(s)
	r.must(r.newKube(r.user).Apply(t.Context(), s))
	if after := r.standing("twice"); !maps.Equal(before, after) {
		t.Errorf("applied again, there are %v, want %v", after, before)
	}

	r.patch(configMaps, "settings", `{"data":{"key":"2","more":"3"},"metadata":{"annotations":{"note":"kept"},"ownerReferences":null}}`)
	r.patch(services, "ui", `{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}`)
	r.fails(r.kube.Apply(t.Context(), s), dm.Conflict, "services/ui", r.namespace, "left alone")
	r.patch(services, "ui", `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"pnda-deployment-manager"}}}`)
	r.apply(s)
	settings := r.get(configMaps, "settings")
	if value, _, _ := unstructured.NestedString(settings.Object, "data", "key"); value != "1" {
		t.Errorf("the value that somebody changed is %q, want it put back", value)
	}
	if settings.GetAnnotations()["note"] != "kept" || metav1.GetControllerOf(settings) == nil {
		t.Errorf("what belongs to somebody else, and to the root, is %v", settings.Object["metadata"])
	}
}

// TestApplyPrunes holds that what is not wanted any more goes, and nothing else.
func TestApplyPrunes(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	r.apply(r.set("other", configMap("others", "1")))
	r.apply(r.set("prunes", configMap("stays", "1"), configMap("goes", "1"), service("goes"), job("goes"), configMap("handed", "1"), configMap("bare", "1")))
	stays := r.standing("prunes")["configmaps/stays"]
	r.patch(configMaps, "handed", `{"metadata":{"annotations":{"pnda.io/application":"another"}}}`)
	r.patch(configMaps, "bare", `{"metadata":{"ownerReferences":null}}`)

	r.apply(r.set("prunes", configMap("stays", "1")))
	eventually(t, "what is not wanted is gone", func() error {
		if found := r.standing("prunes"); len(found) != 2 {
			return fmt.Errorf("there are %v", found)
		}
		return nil
	})
	if after := r.want("prunes", "configmaps/stays")["configmaps/stays"]; after != stays {
		t.Errorf("what stays was written: %v, want %v", after, stays)
	}
	r.want("other", "configmaps/others")
	r.get(configMaps, "handed") // it is another's now

	r.apply(r.set("prunes"))
	eventually(t, "the root alone is left", func() error {
		if found := r.standing("prunes"); len(found) != 1 {
			return fmt.Errorf("there are %v", found)
		}
		return nil
	})
}

// TestForeignIsLeftAlone holds that an object is never taken over and never deleted
// for its name, nor because a root was made to tell of it.
func TestForeignIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	for name, foreign := range map[string]struct{ labels, notes map[string]string }{
		"plain": {},
		"label": {labels: map[string]string{"app.kubernetes.io/managed-by": "pnda-deployment-manager"}},
		"other": {
			map[string]string{"app.kubernetes.io/managed-by": "pnda-deployment-manager"},
			map[string]string{"pnda.io/application": "somebody", "pnda.io/component-type": string(sort)},
		},
		"type": {
			map[string]string{"app.kubernetes.io/managed-by": "pnda-deployment-manager"},
			map[string]string{"pnda.io/application": "mine-type", "pnda.io/component-type": "another"},
		},
	} {
		app := dm.ApplicationName("mine-" + name)
		there := configMap(name, "theirs")
		there.Labels, there.Annotations = foreign.labels, foreign.notes
		made, err := r.client.CoreV1().ConfigMaps(r.namespace).Create(t.Context(), there, metav1.CreateOptions{})
		r.must(err)

		s := r.set(app, configMap(name, "ours"))
		findings, err := r.kube.Check(t.Context(), s)
		if err != nil || len(findings) != 1 || !strings.Contains(findings[0].Message, "configmaps/"+name) || findings[0].Component != "one" {
			t.Errorf("%s: the check finds %v, %v", name, findings, err)
		}
		r.fails(r.kube.Apply(t.Context(), s), dm.Conflict, "configmaps/"+name, "was not made by this server")
		r.apply(r.set(app))
		lie := fmt.Sprintf(`[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q}}]`, name)
		r.patch(configMaps, rootName(app), fmt.Sprintf(`{"data":{"objects":%q}}`, lie))
		r.apply(r.set(app))
		r.must(r.kube.Destroy(t.Context(), app, sort))
		after := r.get(configMaps, name)
		if after.GetUID() != made.UID || after.GetResourceVersion() != made.ResourceVersion {
			t.Errorf("%s: it was touched: %v", name, after.Object)
		}
	}
}

// TestForeignRoot holds the same of the root itself.
func TestForeignRoot(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	made, err := r.client.CoreV1().ConfigMaps(r.namespace).Create(t.Context(), configMap(rootName("squatted"), "theirs"), metav1.CreateOptions{})
	r.must(err)
	findings, err := r.kube.Check(t.Context(), r.set("squatted", configMap("x", "1")))
	r.must(err)
	told(t, findings, "", rootName("squatted"), "was not made by this server")
	r.fails(r.kube.Apply(t.Context(), r.set("squatted", configMap("x", "1"))), dm.Conflict, rootName("squatted"))
	r.must(r.kube.Destroy(t.Context(), "squatted", sort))
	if after := r.get(configMaps, made.Name); after.GetResourceVersion() != made.ResourceVersion {
		t.Errorf("it was touched: %v", after.Object)
	}
	r.want("squatted")
}

// TestCutOff cuts the line at every request of an apply and of a destroy, once before
// the API server hears of it and once before the server hears of the answer. What is
// done again after it leaves nothing out and makes nothing twice.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		t.Run(map[bool]string{false: "request", true: "answer"}[behind], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shared, nil)
			cuts := 0
			for part := range 3 {
				for n := 1; ; n++ {
					var wires [3]wire
					wires[part] = wire{cutAt: n, behind: behind}
					if !r.cutOff(fmt.Sprintf("cut-%d-%d", part, n), &wires[0], &wires[1], &wires[2]) {
						break
					}
					cuts++
				}
			}
			t.Logf("%d cuts", cuts)
			if cuts < 25 {
				t.Errorf("the line was cut %d times, want at least 25", cuts)
			}
		})
	}
}

// cutOff plays the life of an application, each part by a server of its own whose line
// may be cut, and again by one whose line is whole. It tells whether one was cut.
func (r *rig) cutOff(name string, create, change, end *wire) (cut bool) {
	r.Helper()
	app := dm.ApplicationName(name)
	steps := func(w *wire, do func(*kube.Cluster) error) {
		r.Helper()
		if err := do(r.newKube(r.wired(w))); err != nil {
			if !errors.Is(err, errCut) || dm.KindOf(err) != dm.Unavailable {
				r.Errorf("%s: it says %v", name, err)
			}
			cut = true
			if err := do(r.newKube(r.user)); err != nil {
				r.Errorf("%s, again: %v", name, err)
			}
		}
	}
	of := func(part string) string { return name + "-" + part }
	a := r.set(app, configMap(of("stays"), "1"), service(of("goes")), job(of("goes")))
	b := r.set(app, configMap(of("stays"), "2"), service(of("comes")))
	steps(create, func(c *kube.Cluster) error { return c.Apply(r.Context(), a) })
	stays := r.want(app, "configmaps/"+of("stays"), "services/"+of("goes"), "jobs/"+of("goes"))["configmaps/"+of("stays")]
	steps(change, func(c *kube.Cluster) error { return c.Apply(r.Context(), b) })
	eventually(r.T, "what is not wanted is gone", func() error {
		if found := r.standing(app); len(found) != 3 {
			return fmt.Errorf("there are %v", found)
		}
		return nil
	})
	if after := r.want(app, "configmaps/"+of("stays"), "services/"+of("comes"))["configmaps/"+of("stays")]; after.uid != stays.uid {
		r.Errorf("%s: what stays was made again", name)
	}
	steps(end, func(c *kube.Cluster) error { return c.Destroy(r.Context(), app, sort) })
	r.want(app)
	return cut
}

// TestDestroy holds that all of one application goes, wherever it stands and whoever
// touched it, and that others' stays.
func TestDestroy(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	second := r.namespace + "-second"
	r.namespaced(second, nil)
	other := kube.Team{Name: "second", Namespace: second, ServiceAccount: "jobs"}
	r.kube = r.newKube(r.user, other)
	r.allowed()

	elsewhere := r.set("gone", configMap("x", "1"))
	elsewhere.Team = other
	r.apply(elsewhere)
	r.apply(r.set("gone", configMap("x", "1"), deployment("x"), service("x")))
	r.apply(r.set("kept", configMap("kept", "1")))
	of := r.set("gone", configMap("typed", "1"))
	of.Type = "another"
	r.apply(of)

	r.must(r.kube.Destroy(t.Context(), "gone", sort))
	r.must(r.kube.Destroy(t.Context(), "gone", sort))
	r.must(r.kube.Destroy(t.Context(), "never", sort))
	r.want("kept", "configmaps/kept")
	if found := r.standing("gone"); len(found) != 2 {
		t.Errorf("of the other type there are %v, want its object and its root", found)
	}
	list, err := r.client.CoreV1().ConfigMaps(second).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by"})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("in the other namespace there are %v, %v", list.Items, err)
	}
	pods, err := r.client.CoreV1().Pods(r.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("there are still %d pods, %v", len(pods.Items), err)
	}
}

// TestRootLost holds that objects whose root somebody deleted, and kept what belonged
// to it, are found: by the next apply, and by a destroy.
func TestRootLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	s := r.set("lost", configMap("a", "1"), service("a"))
	r.apply(s)
	orphan := metav1.DeletePropagationOrphan
	lose := func() {
		t.Helper()
		r.must(r.client.CoreV1().ConfigMaps(r.namespace).Delete(t.Context(), rootName("lost"), metav1.DeleteOptions{PropagationPolicy: &orphan}))
		eventually(t, "the root is gone", func() error {
			if _, there := r.standing("lost")["configmaps/"+rootName("lost")]; there {
				return errors.New("it is there")
			}
			return nil
		})
	}
	before := r.standing("lost")
	lose()
	r.apply(s)
	after := r.want("lost", "configmaps/a", "services/a")
	if after["services/a"].uid != before["services/a"].uid || metav1.GetControllerOf(r.get(services, "a")) == nil {
		t.Error("it was made again, or belongs to nobody")
	}
	lose()
	r.must(r.kube.Destroy(t.Context(), "lost", sort))
	r.want("lost")
}

// TestFinalizer holds that who waits for a destroy is told what holds it.
func TestFinalizer(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	s := r.set("held", configMap("a", "1"), configMap("b", "1"))
	r.apply(s)
	r.patch(configMaps, "a", `{"metadata":{"finalizers":["example.com/hold"]}}`)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r.fails(r.kube.Destroy(ctx, "held", sort), dm.Unavailable, "configmaps/a", "example.com/hold", r.namespace)
	r.fails(r.kube.Apply(t.Context(), s), dm.Unavailable, "still being removed")
	r.patch(configMaps, "a", `{"metadata":{"finalizers":null}}`)
	r.must(r.kube.Destroy(t.Context(), "held", sort))
	r.want("held")
}
