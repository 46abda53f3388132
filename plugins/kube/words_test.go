package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	dm "github.com/pndaproject/deployment-manager"
)

func testCluster(t *testing.T) *Cluster {
	t.Helper()
	c, err := New(Config{REST: &rest.Config{Host: "https://127.0.0.1:1"}, Teams: []Team{{Name: "data", Namespace: "pnda-data", ServiceAccount: "jobs"}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func said(code int32, message string, causes ...metav1.StatusCause) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Message: message, Details: &metav1.StatusDetails{Name: "x", Causes: causes}}}
}

// TestWordsOfTheAPIServer holds what people are told, and who must act, for answers
// that an API server of version 1.37 gave.
func TestWordsOfTheAPIServer(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	for _, test := range []struct {
		name string
		err  error
		kind dm.Kind
		want string
	}{
		{"unknown field", said(500, "failed to create typed patch object (pnda/x; sparkoperator.k8s.io/v1beta2, Kind=SparkApplication): .spec.foo: field not declared in schema"),
			dm.Invalid, ".spec.foo: field not declared in schema"},
		{"two unknown fields", said(500, "failed to create typed patch object (pnda/x; batch/v1, Kind=Job): errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema"),
			dm.Invalid, ".spec.a: field not declared in schema; .spec.b: field not declared in schema"},
		{"any other 500", said(500, "etcdserver: leader changed"), dm.Unavailable, "the API server of the cluster can't do it now: etcdserver: leader changed"},
		{"validation", said(422, "…", metav1.StatusCause{Field: "spec.b", Message: "Required value"}, metav1.StatusCause{Field: "spec.a", Message: "Invalid value: 7"}),
			dm.Invalid, "spec.a: Invalid value: 7; spec.b: Required value"},
		{"whole object", said(422, "…", metav1.StatusCause{Field: "spec.template", Message: "Invalid value: {" + strings.Repeat("x", 2000) + "}: field is immutable"}),
			dm.Invalid, "spec.template: Invalid value: field is immutable"},
		{"quota", said(403, `pods "x" is forbidden: exceeded quota: q, requested: limits.memory=2Gi,requests.cpu=2, used: limits.memory=0,requests.cpu=0, limited: limits.memory=1Gi,requests.cpu=1`),
			dm.Invalid, "the quota q of the namespace is exceeded: asked for limits.memory=2Gi,requests.cpu=2, in use limits.memory=0,requests.cpu=0, limit limits.memory=1Gi,requests.cpu=1"},
		{"quota asks for requests", said(403, `pods "x" is forbidden: failed quota: q: must specify requests.cpu for: main; requests.memory for: main`),
			dm.Invalid, "the quota q of the namespace asks for requests.cpu"},
		{"quota not read yet", said(403, `pods "x" is forbidden: status unknown for quota: q, resources: requests.cpu`), dm.Unavailable, "the API server of the cluster is still starting"},
		{"pod security", said(403, `pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true)`),
			dm.Invalid, `the namespace does not allow such a pod (Pod Security restricted): runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true)`},
		{"limit range", said(403, `pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2`), dm.Invalid, "the cluster does not allow it: maximum cpu usage per Container is 1, but limit is 2"},
		{"own rights", said(403, `sparkapplications.sparkoperator.k8s.io "x" is forbidden: User "system:serviceaccount:pnda:dm" cannot patch resource "sparkapplications" in API group "sparkoperator.k8s.io" in the namespace "pnda-data"`),
			dm.Unavailable, "the server may not patch sparkapplications.sparkoperator.k8s.io in the namespace pnda-data; whoever installed it grants this (docs/kubernetes.md)"},
		{"own rights, core group", said(403, `pods "x" is forbidden: User "dm" cannot get resource "pods/log" in API group "" in the namespace "pnda-data"`),
			dm.Unavailable, "the server may not get pods/log in the namespace pnda-data; whoever installed it grants this (docs/kubernetes.md)"},
		{"no service account", said(403, `pods "x" is forbidden: error looking up service account pnda-data/jobs: serviceaccount "jobs" not found`),
			dm.Unavailable, "the service account jobs is missing in the namespace"},
		{"admission starts", said(403, `pods "x" is forbidden: not yet ready to handle request`), dm.Unavailable, "the API server of the cluster is still starting"},
		{"webhook away", said(500, `Internal error occurred: failed calling webhook "mutate.sparkoperator.k8s.io": failed to call webhook: Post "https://x:9443": dial tcp 10.96.0.9:9443: connect: connection refused`),
			dm.Unavailable, "the admission webhook mutate.sparkoperator.k8s.io does not answer"},
		{"webhook refuses", said(403, `admission webhook "validate.sparkoperator.k8s.io" denied the request: sparkConf key "spark.master" is not allowed: this value is managed by the operator`),
			dm.Invalid, `refused by validate.sparkoperator.k8s.io: sparkConf key "spark.master" is not allowed: this value is managed by the operator`},
		{"webhook refuses by a status of its own", said(418, "admission webhook \"w\" denied the request: one\ntwo"), dm.Invalid, "refused by w: one; two"},
		{"namespace missing", said(404, `namespaces "pnda-data" not found`), dm.Unavailable, "the namespace pnda-data does not exist"},
		{"namespace goes", said(403, `configmaps "x" is forbidden: unable to create new content in namespace pnda-data because it is being terminated`), dm.Unavailable, "the namespace is being removed"},
		{"credentials", said(401, "Unauthorized"), dm.Unavailable, "the API server of the cluster does not accept the server's credentials"},
		{"too many requests", said(429, "slow down"), dm.Unavailable, "the API server of the cluster can't do it now: slow down"},
		{"changed meanwhile", said(409, "Precondition failed: UID in precondition: 1, UID in object meta: 2"), dm.Unavailable, "the object was changed at the same time"},
		{"network", &url.Error{Op: "Get", URL: "https://10.96.0.1/api", Err: errors.New("connection refused")}, dm.Unavailable, "the API server of the cluster can't be reached"},
		{"its certificate", &url.Error{Op: "Get", URL: "https://10.96.0.1/api", Err: x509.UnknownAuthorityError{}}, dm.Unavailable, "the certificate of the API server of the cluster is not one that the server trusts"},
		{"time-out", context.DeadlineExceeded, dm.Unavailable, "the API server of the cluster can't be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := c.fault("test", "", test.err)
			if dm.KindOf(err) != test.kind || dm.Public(err) != test.want {
				t.Errorf("it is %s: %s\nwant %s: %s", dm.KindOf(err), dm.Public(err), test.kind, test.want)
			}
			if !errors.Is(err, test.err) {
				t.Error("the log does not get what the API server said")
			}
		})
	}
}

// TestUnknownKindNamesTheOperator tells a kind that is not served from an object that
// is not there.
func TestUnknownKindNamesTheOperator(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	spark, err := kindOf(SparkApplication)
	if err != nil {
		t.Fatal(err)
	}
	answer := apierrors.NewGenericServerResponse(http.StatusNotFound, "patch", schema.GroupResource{}, "", "404 page not found", 0, true)
	err = c.failed("test", spark, "pnda-data", "x", answer)
	const want = "this cluster does not serve sparkoperator.k8s.io/v1beta2 SparkApplication; install the Kubeflow Spark operator, version 2.4 or newer, and let it watch the namespace pnda-data"
	if dm.KindOf(err) != dm.Unavailable || dm.Public(err) != want {
		t.Errorf("it is %s: %s\nwant %s", dm.KindOf(err), dm.Public(err), want)
	}
	if isUnknownKind(said(404, `sparkapplications "x" not found`)) {
		t.Error("an object that is not there counts as a kind that is not served")
	}
}

// TestNames holds that every name can be used everywhere, and that no two are one.
func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, parts := range [][]string{
		{"a-b", "c"}, {"a", "b-c"}, {"A", "b-c"}, {"a", "b", "c"}, {"a-b-c"}, {"a", ""}, {"a"}, {"a", "", ""}, {"", "a"},
		{"1flow"}, {"_x-"}, {"-"}, {"."}, {"äöü"}, {"K"}, {"../../etc"}, {"a/b"}, {"a b"}, {"a\x00b"}, {"a", "\x00b"},
		{strings.Repeat("long", 40)}, {strings.Repeat("long", 40) + "1"}, {strings.Repeat("-", 60)}, {"x", strings.Repeat("y", 33)},
	} {
		name := Name(dm.ApplicationName(parts[0]), parts[1:]...)
		if faults := validation.IsDNS1035Label(name); len(faults) > 0 || len(name) > nameMax {
			t.Errorf("%q is named %q: %v", parts, name, faults)
		}
		if before, twice := seen[name]; twice {
			t.Errorf("%q and %s are both named %q", parts, before, name)
		}
		seen[name] = fmt.Sprintf("%q", parts)
	}
	if got, want := Name("Noon_count", "spark", "job"), regexp.MustCompile(`^noon-count-spark-job-[0-9a-f]{10}$`); !want.MatchString(got) {
		t.Errorf("the name is %q, want %s", got, want)
	}
}

// TestLabels holds that what people name things makes no illegal label, and hides
// behind none of others.
func TestLabels(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain", "_x-", "a/b", strings.Repeat("ü", 80), strings.Repeat("x", 62) + "--y", "app=hub", "a,b", "-", "\n"} {
		labels := Labels(dm.ApplicationName(name), dm.ComponentType(name), dm.ComponentName(name))
		for key, value := range labels {
			if faults := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(faults) > 0 {
				t.Errorf("of %q: %s=%q: %v", name, key, value, faults)
			}
		}
		if labels[managedBy] != manager || labels[applicationID] == "" || labels[componentID] == "" {
			t.Errorf("of %q: what selects is %v", name, labels)
		}
		if notes := Notes(dm.ApplicationName(name), "t", dm.ComponentName(name)); notes[applicationNote] != name || notes[componentNote] != name {
			t.Errorf("of %q: the annotations are %v", name, notes)
		}
	}
	if ComponentID("a", "t", "b-c") == ComponentID("a-b", "t", "c") || ApplicationID("a") == ApplicationID("A") {
		t.Error("two have one label")
	}
}

// TestBuild holds what an object gets that a plugin does not write, and that none of
// it can be written by a plugin instead.
func TestBuild(t *testing.T) {
	t.Parallel()
	mine := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "kube-system", Labels: map[string]string{managedBy: "hub", "mine": "1"}},
		Data:       map[string]string{"a": "b"},
	}
	s := Set{Application: "app", Type: "spark", Team: Team{Namespace: "pnda-data"}, Objects: []Object{{Component: "c", Body: mine}}}
	objects, err := s.build()
	if err != nil {
		t.Fatal(err)
	}
	o := objects[0]
	if o.GetNamespace() != "pnda-data" || o.GetLabels()[managedBy] != manager || o.GetLabels()["mine"] != "1" || o.GetAnnotations()[applicationNote] != "app" {
		t.Errorf("it is %v", o.Object)
	}
	if _, has := o.Object["metadata"].(map[string]any)["creationTimestamp"]; has {
		t.Error("a time that nobody wants is sent")
	}
	if mine.Namespace != "kube-system" {
		t.Error("the plugin's own object was changed")
	}
	service := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "x"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "a", Port: 1}, {Name: "b", Port: 2, TargetPort: intstr.FromInt32(3)}}}}
	s.Objects = []Object{{Body: service}}
	if objects, err = s.build(); err != nil {
		t.Fatal(err)
	}
	ports, _, _ := unstructured.NestedSlice(objects[0].Object, "spec", "ports")
	if got, want := fmt.Sprint(ports), "[map[name:a port:1] map[name:b port:2 targetPort:3]]"; got != want {
		t.Errorf("the ports are %s, want %s", got, want)
	}
	secret := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "x"}}}
	nameless := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	root := mine.DeepCopy()
	root.Name = rootName(s.Application, s.Type)
	for name, objects := range map[string][]Object{
		"a Secret": {{Body: secret}}, "no name": {{Body: nameless}}, "the same twice": {{Body: mine}, {Body: mine}}, "the root": {{Body: root}},
		"no object": {{Body: 7}}, "what is no JSON": {{Body: func() {}}},
	} {
		s.Objects = objects
		if _, err := s.build(); dm.KindOf(err) != dm.Internal {
			t.Errorf("%s is built: %v", name, err)
		}
	}
}

// TestNewAsksNobody holds that a server starts beside a cluster that is away, and what
// it says of one that nobody described.
func TestNewAsksNobody(t *testing.T) {
	t.Parallel()
	testCluster(t) // nothing listens there
	team := Team{Name: "data", Namespace: "n", ServiceAccount: "s"}
	for want, config := range map[string]Config{
		"API server":         {Teams: []Team{team}},
		"no team":            {REST: &rest.Config{}},
		"duplicate team":     {REST: &rest.Config{}, Teams: []Team{team, team}},
		"no namespace":       {REST: &rest.Config{}, Teams: []Team{{Name: "x", ServiceAccount: "s"}}},
		"no service account": {REST: &rest.Config{}, Teams: []Team{{Name: "x", Namespace: "n"}}},
		"can't be used":      {REST: &rest.Config{Host: "https://x:y"}, Teams: []Team{team}},
	} {
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, want %q in it", err, want)
		}
	}
}
