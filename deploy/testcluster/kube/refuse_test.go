package kube_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// limit gives the namespace a quota and waits until it is in force.
func (r *rig) limit(hard corev1.ResourceList) {
	r.Helper()
	quotas := r.client.CoreV1().ResourceQuotas(r.namespace)
	_, err := quotas.Create(r.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "share"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
	r.must(err)
	eventually(r.T, "the quota is in force", func() error {
		quota, err := quotas.Get(r.Context(), "share", metav1.GetOptions{})
		if err == nil && len(quota.Status.Hard) == 0 {
			err = errors.New("its status is empty")
		}
		return err
	})
}

// TestCheckTellsAll holds that all that the cluster would refuse is told at once, in
// words and before anything is made, also what it tells of pods only.
func TestCheckTellsAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	r.limit(corev1.ResourceList{corev1.ResourceRequestsCPU: resource.MustParse("1"), corev1.ResourceRequestsMemory: resource.MustParse("4Gi")})

	good := r.set("good", configMap("settings", "1"), service("ui"), deployment("web"), job("run"))
	good.Pods = []kube.Pod{{Component: "one", Of: "driver", Spec: podSpec()}}
	begin := time.Now()
	findings, err := r.kube.Check(t.Context(), good)
	if err != nil || len(findings) > 0 {
		t.Errorf("of what is well it finds %v, %v", findings, err)
	}
	t.Logf("a check of 4 objects and a pod took %v", time.Since(begin))

	greedy, root, vague, stranger := podSpec(), podSpec(), podSpec(), podSpec()
	greedy.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi")}
	root.Containers[0].SecurityContext = nil
	vague.Containers[0].Resources.Requests = nil
	vague.Containers[0].Resources.Limits = nil
	stranger.Containers[0].Name = "Not A Name"
	bad := service("ui")
	bad.Spec.Ports[0].Port = 70000
	odd := map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "odd"}, "spec": map[string]any{"foo": 1}}
	s := kube.Set{Application: "bad", Type: sort, Team: r.team(), Objects: []kube.Object{
		{Component: "one", Body: bad}, {Component: "two", Body: &unstructured.Unstructured{Object: odd}}, {Component: "two", Body: configMap("settings", "1")},
	}, Pods: []kube.Pod{
		{Component: "one", Of: "driver", Spec: greedy}, {Component: "one", Of: "executor", Spec: root},
		{Component: "two", Of: "driver", Spec: vague}, {Component: "two", Of: "executor", Spec: stranger},
	}}
	findings, err = r.kube.Check(t.Context(), s)
	r.must(err)
	told(t, findings, "one", "services/ui", "spec.ports[0].port", "70000")
	told(t, findings, "one", "driver pod", r.namespace, "quota share", "asked for requests.cpu=2", "limit requests.cpu=1")
	told(t, findings, "one", "executor pod", "Pod Security restricted", "allowPrivilegeEscalation != false")
	told(t, findings, "two", "jobs/odd", ".spec.foo", "field not declared in schema")
	told(t, findings, "two", "driver pod", "quota share", "asks for requests.cpu")
	told(t, findings, "two", "executor pod", "spec.containers[0].name", "Not A Name")
	if len(findings) != 6 {
		t.Errorf("it finds %d faults, want 6: %v", len(findings), findings)
	}
	for _, app := range []dm.ApplicationName{"good", "bad"} {
		r.want(app)
	}
	pods, err := r.client.CoreV1().Pods(r.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("there are pods: %v, %v", pods.Items, err)
	}
}

// TestCheckOfWhatStands holds that a change which the cluster would refuse, of what it
// took before, is told with its field.
func TestCheckOfWhatStands(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	r.apply(r.set("stands", job("run")))
	other := job("run")
	other.Spec.Template.Spec.Containers[0].Image = "example/engine:2"
	before := r.standing("stands")
	findings, err := r.kube.Check(t.Context(), r.set("stands", other))
	r.must(err)
	told(t, findings, "one", "jobs/run", "spec.template", "Invalid value: field is immutable")
	r.fails(r.kube.Apply(t.Context(), r.set("stands", other)), dm.Invalid, "jobs/run", "spec.template", "Invalid value: field is immutable")
	if after := r.standing("stands"); after["jobs/run"] != before["jobs/run"] {
		t.Error("the job was written")
	}

	large := r.set("stands", configMap("a", strings.Repeat("x", 500<<10)), configMap("b", strings.Repeat("x", 500<<10)))
	findings, err = r.kube.Check(t.Context(), large)
	r.must(err)
	told(t, findings, "", "bytes, at most")
}

// told holds that one finding is about the component and says all of that.
func told(t *testing.T, findings []dm.Finding, component dm.ComponentName, says ...string) {
	t.Helper()
	for _, f := range findings {
		if f.Type == sort && f.Component == component && !slices.ContainsFunc(says, func(text string) bool { return !strings.Contains(f.Message, text) }) {
			return
		}
	}
	t.Errorf("no finding of %s says %q: %v", component, says, findings)
}

// TestQuotaOfObjects holds that an apply, too, tells a quota as the change's fault.
func TestQuotaOfObjects(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	r.limit(corev1.ResourceList{"count/services": resource.MustParse("1")})
	r.fails(r.kube.Apply(t.Context(), r.set("many", service("a"), service("b"))), dm.Invalid, "services/b", "quota share", "limit count/services=1")
	r.apply(r.set("many", service("a")))
	r.want("many", "services/a")
}

// TestRights holds that a right that is missing is named, that nobody is blamed for it
// who only wanted an application, and that what waits goes on when it is there again.
func TestRights(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	roles := r.client.RbacV1().Roles(r.namespace)
	role, err := roles.Get(t.Context(), "manager", metav1.GetOptions{})
	r.must(err)
	whole := role.DeepCopy().Rules
	for i, rule := range role.Rules {
		if slices.Contains(rule.Resources, "services") {
			role.Rules[i].Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool { return verb == "patch" })
		}
	}
	role, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	r.must(err)
	eventually(t, "the rights that are missing are named", func() error {
		missing, err := r.kube.Missing(t.Context())
		want := []string{"missing permission: patch configmaps in " + r.namespace, "missing permission: patch services in " + r.namespace}
		if err == nil && !slices.Equal(missing, want) {
			err = fmt.Errorf("they are %q, want %q", missing, want)
		}
		return err
	})
	s := r.set("waits", service("a"))
	_, err = r.kube.Check(t.Context(), s)
	r.fails(err, dm.Unavailable, "the server may not patch ", " in the namespace "+r.namespace)
	r.fails(r.kube.Apply(t.Context(), s), dm.Unavailable, "may not patch configmaps in the namespace "+r.namespace)

	role.Rules = whole
	_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	r.must(err)
	r.allowed()
	r.apply(s)

	r.must(r.client.RbacV1().RoleBindings(r.namespace).Delete(t.Context(), "manager", metav1.DeleteOptions{}))
	eventually(t, "the user has no right", func() error {
		if err := r.kube.Destroy(t.Context(), "waits", sort); err == nil {
			return errors.New("it may destroy")
		}
		return nil
	})
	r.fails(r.kube.Destroy(t.Context(), "waits", sort), dm.Unavailable, "may not get configmaps in the namespace "+r.namespace)
	r.bind(r.namespace)
	r.allowed()
	r.want("waits", "services/a")
	r.must(r.kube.Destroy(t.Context(), "waits", sort))
}

// TestCredentials holds what is said of a signature that the cluster does not know.
func TestCredentials(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	stranger := rest.AnonymousClientConfig(r.user)
	stranger.BearerToken = "nobody"
	_, err := r.newKube(stranger).Check(t.Context(), r.set("x", configMap("x", "1")))
	r.fails(err, dm.Unavailable, "does not accept the server's credentials")

	distrust := rest.CopyConfig(stranger)
	distrust.TLSClientConfig = rest.TLSClientConfig{}
	r.fails(r.newKube(distrust).Apply(t.Context(), r.set("x", configMap("x", "1"))), dm.Unavailable, "certificate of the API server")
}

// TestNamespaceMissing holds that a team whose namespace nobody made is named so.
func TestNamespaceMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	s := r.set("x", configMap("x", "1"))
	s.Team.Namespace = "nowhere"
	c := r.newKube(r.cluster.Config(), kube.Team{Name: "nowhere", Namespace: "nowhere", ServiceAccount: "jobs"})
	r.fails(c.Apply(t.Context(), s), dm.Unavailable, "the namespace nowhere does not exist")
	_, err := c.Check(t.Context(), s)
	r.fails(err, dm.Unavailable, "the namespace nowhere does not exist")
	r.must(c.Destroy(t.Context(), "x", sort))
}

// hook registers an admission webhook for the ConfigMaps of the namespace.
func (r *rig) hook(url string, authority []byte) {
	r.Helper()
	none := admissionregistrationv1.SideEffectClassNone
	namespaced := admissionregistrationv1.NamespacedScope
	_, err := r.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(r.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: r.namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "judge.example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:      admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: authority},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": r.namespace}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}, Scope: &namespaced},
			}},
		}},
	}, metav1.CreateOptions{})
	r.must(err)
	r.Cleanup(func() { r.unhook() })
}

func (r *rig) unhook() {
	_ = r.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(r.background(), r.namespace, metav1.DeleteOptions{})
}

// TestWebhookAway holds that a webhook which does not answer is nobody's fault, and
// that what waits for it goes on when it is back.
func TestWebhookAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	s := r.set("hooked", configMap("a", "1"))
	r.hook("https://127.0.0.1:1/judge", nil)
	eventually(t, "the webhook is asked", func() error {
		_, err := r.kube.Check(t.Context(), s)
		if err == nil {
			return errors.New("the check is well")
		}
		r.fails(err, dm.Unavailable, "the admission webhook judge.example.com does not answer")
		return nil
	})
	r.fails(r.kube.Apply(t.Context(), s), dm.Unavailable, "the admission webhook judge.example.com does not answer")
	r.unhook()
	eventually(t, "the apply goes on", func() error { return r.kube.Apply(t.Context(), s) })
	r.want("hooked", "configmaps/a")
}

// TestWebhookRefuses holds that what a webhook says reaches who asked.
func TestWebhookRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	judge := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(q.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: review.Request.Name != "bad", Result: &metav1.Status{Message: `the key "x" is not allowed`}}
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(judge.Close)
	authority := pemOf(judge.Certificate())
	r.hook(judge.URL, authority)
	s := r.set("judged", configMap("good", "1"), configMap("bad", "1"))
	eventually(t, "the webhook is asked", func() error {
		findings, err := r.kube.Check(t.Context(), s)
		r.must(err)
		if len(findings) == 0 {
			return errors.New("the check finds nothing")
		}
		told(t, findings, "one", "configmaps/bad", `refused by judge.example.com: the key "x" is not allowed`)
		return nil
	})
	r.fails(r.kube.Apply(t.Context(), s), dm.Invalid, "configmaps/bad", `the key "x" is not allowed`)
}

// sparkDefinition is as much of the Spark operator's kind as the tests need.
func sparkDefinition() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{
			"name":        "sparkapplications.sparkoperator.k8s.io",
			"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a test"},
		},
		"spec": map[string]any{
			"group": "sparkoperator.k8s.io", "scope": "Namespaced",
			"names": map[string]any{"kind": "SparkApplication", "listKind": "SparkApplicationList", "plural": "sparkapplications", "singular": "sparkapplication"},
			"versions": []any{map[string]any{
				"name": "v1beta2", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec": map[string]any{"type": "object", "properties": map[string]any{
						"type":    map[string]any{"type": "string", "enum": []any{"Java", "Python"}},
						"suspend": map[string]any{"type": "boolean"},
					}},
				}}},
			}},
		},
	}}
}

func sparkApplication(name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

// TestOperatorComesLate holds that a kind which the cluster does not serve is named
// with whom it comes from, that it is found as soon as it is there, and that nobody
// waits for it when it has gone.
func TestOperatorComesLate(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared, nil)
	definitions := r.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	const missing = "does not serve sparkoperator.k8s.io/v1beta2 SparkApplication; install the Kubeflow Spark operator"
	s := r.set("late", configMap("before", "1"), sparkApplication("job", map[string]any{"type": "Java", "suspend": true}))

	findings, err := r.kube.Check(t.Context(), s)
	r.must(err)
	told(t, findings, "one", missing, "watch the namespace "+r.namespace)
	r.fails(r.kube.Apply(t.Context(), s), dm.Unavailable, missing)
	r.want("late", "configmaps/before")

	definition, err := definitions.Create(t.Context(), sparkDefinition(), metav1.CreateOptions{})
	r.must(err)
	begin := time.Now()
	eventually(t, "the kind is served", func() error {
		serves, err := r.kube.Serves(t.Context(), kube.SparkApplication)
		if err == nil && !serves {
			err = errors.New("it is not")
		}
		return err
	})
	t.Logf("the kind was seen %v after it was made", time.Since(begin))
	eventually(t, "the apply goes on", func() error { return r.kube.Apply(t.Context(), s) })
	sparks := schema.GroupVersionResource{Group: "sparkoperator.k8s.io", Version: "v1beta2", Resource: "sparkapplications"}
	before := r.get(sparks, "job")
	r.apply(s)
	if after := r.get(sparks, "job"); after.GetResourceVersion() != before.GetResourceVersion() {
		t.Error("applied again, it was written")
	}

	findings, err = r.kube.Check(t.Context(), r.set("late", sparkApplication("job", map[string]any{"type": "Perl"}), sparkApplication("other", map[string]any{"kind": "x"})))
	r.must(err)
	told(t, findings, "one", "sparkapplications/job", "spec.type", "Perl")
	told(t, findings, "one", "sparkapplications/other", ".spec.kind", "field not declared in schema")

	r.must(definitions.Delete(t.Context(), definition.GetName(), metav1.DeleteOptions{}))
	eventually(t, "the kind has gone", func() error {
		serves, err := r.kube.Serves(t.Context(), kube.SparkApplication)
		if err == nil && serves {
			err = errors.New("it is served")
		}
		return err
	})
	r.fails(r.kube.Apply(t.Context(), s), dm.Unavailable, missing)
	r.apply(r.set("late", configMap("before", "1"))) // its objects went with the kind
	r.must(r.kube.Destroy(t.Context(), "late", sort))
	r.want("late")
}
