package kube_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/deploy/testcluster"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// shared is the control plane of all tests that leave it standing.
var shared *testcluster.Cluster

func TestMain(m *testing.M) { os.Exit(withCluster(m)) }

func withCluster(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	var err error
	if shared, err = testcluster.Start(ctx, testcluster.Options{Kwok: true, Progress: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// The log of client-go is set with the first, and not while others use it.
	if _, err := kube.New(kube.Config{REST: shared.Config(), Teams: []kube.Team{{Name: team, Namespace: "default", ServiceAccount: "jobs"}}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// The kind of components that the tests make.
const (
	sort = dm.ComponentType("engine")
	team = "data"
)

var (
	configMaps  = corev1.SchemeGroupVersion.WithResource("configmaps")
	services    = corev1.SchemeGroupVersion.WithResource("services")
	deployments = appsv1.SchemeGroupVersion.WithResource("deployments")
	jobs        = batchv1.SchemeGroupVersion.WithResource("jobs")
)

// rig is the namespace of a team, what looks into it with all rights, and a Cluster
// whose user has the rights of role.yaml there and no others.
type rig struct {
	*testing.T
	cluster   *testcluster.Cluster
	namespace string
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	user      *rest.Config
	kube      *kube.Cluster
}

var namespaces struct {
	sync.Mutex
	made int
}

func newRig(t *testing.T, cluster *testcluster.Cluster, labels map[string]string) *rig {
	t.Helper()
	namespaces.Lock()
	namespaces.made++
	r := &rig{T: t, cluster: cluster, namespace: fmt.Sprintf("team-%d", namespaces.made)}
	namespaces.Unlock()
	all := cluster.Config()
	all.WarningHandler = rest.NoWarnings{}
	r.client, r.dynamic = kubernetes.NewForConfigOrDie(all), dynamic.NewForConfigOrDie(all)
	r.namespaced(r.namespace, labels)
	var err error
	if r.user, err = cluster.ConfigFor("manager-" + r.namespace); err != nil {
		t.Fatal(err)
	}
	r.kube = r.newKube(r.user)
	r.allowed()
	return r
}

// namespaced makes a namespace with the role, which the rig's user gets.
func (r *rig) namespaced(name string, labels map[string]string) {
	r.Helper()
	_, err := r.client.CoreV1().Namespaces().Create(r.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	r.must(err)
	_, err = r.client.CoreV1().ServiceAccounts(name).Create(r.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "jobs"}}, metav1.CreateOptions{})
	r.must(err)
	_, err = r.client.RbacV1().Roles(name).Create(r.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "manager"}, Rules: kube.Rules()}, metav1.CreateOptions{})
	r.must(err)
	r.bind(name)
}

func (r *rig) bind(namespace string) {
	r.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "manager"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "manager-" + r.namespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "manager"},
	}
	_, err := r.client.RbacV1().RoleBindings(namespace).Create(r.Context(), binding, metav1.CreateOptions{})
	r.must(err)
}

// allowed waits until the rights hold, and with them the namespace's controllers have
// done their part.
func (r *rig) allowed() {
	r.Helper()
	eventually(r.T, "the user has the rights of role.yaml", func() error {
		missing, err := r.kube.Missing(r.Context())
		if err == nil && len(missing) > 0 {
			err = errors.New(strings.Join(missing, "; "))
		}
		if err == nil {
			_, err = r.client.CoreV1().ConfigMaps(r.namespace).Get(r.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		}
		return err
	})
}

func (r *rig) team() kube.Team {
	return kube.Team{Name: team, Namespace: r.namespace, ServiceAccount: "jobs", Images: []string{"*"}}
}

// newKube is the Cluster of a server that has just started.
func (r *rig) newKube(config *rest.Config, more ...kube.Team) *kube.Cluster {
	r.Helper()
	c, err := kube.New(kube.Config{REST: config, Teams: append(more, r.team())})
	r.must(err)
	return c
}

func (r *rig) set(app dm.ApplicationName, objects ...any) kube.Set {
	s := kube.Set{Application: app, Type: sort, Team: r.team(), Desired: "0123456789abcdef0123456789abcdef01234567"}
	for _, o := range objects {
		s.Objects = append(s.Objects, kube.Object{Component: "one", Body: o})
	}
	return s
}

func (r *rig) apply(s kube.Set) {
	r.Helper()
	if err := r.kube.Apply(r.Context(), s); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// seen is what stands of an object.
type seen struct {
	uid     types.UID
	version string
}

// standing are the objects of an application by "resource/name".
func (r *rig) standing(app dm.ApplicationName) map[string]seen {
	r.Helper()
	found := map[string]seen{}
	for _, of := range []schema.GroupVersionResource{configMaps, services, deployments, jobs} {
		list, err := r.dynamic.Resource(of).Namespace(r.namespace).List(r.Context(), metav1.ListOptions{})
		r.must(err)
		for _, o := range list.Items {
			if o.GetAnnotations()["pnda.io/application"] == string(app) {
				found[of.Resource+"/"+o.GetName()] = seen{o.GetUID(), o.GetResourceVersion()}
			}
		}
	}
	return found
}

// want says which objects an application shall have beside its root.
func (r *rig) want(app dm.ApplicationName, names ...string) map[string]seen {
	r.Helper()
	found := r.standing(app)
	if len(names) > 0 {
		names = append(names, "configmaps/"+rootName(app))
	}
	var got []string
	for name := range found {
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		r.Errorf("of %s there are %v, want %v", app, got, names)
	}
	return found
}

func (r *rig) get(of schema.GroupVersionResource, name string) *unstructured.Unstructured {
	r.Helper()
	o, err := r.dynamic.Resource(of).Namespace(r.namespace).Get(r.Context(), name, metav1.GetOptions{})
	r.must(err)
	return o
}

func (r *rig) patch(of schema.GroupVersionResource, name, merge string) {
	r.Helper()
	_, err := r.dynamic.Resource(of).Namespace(r.namespace).Patch(r.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	r.must(err)
}

// fails holds what an error is and that it says all of that.
func (r *rig) fails(err error, kind dm.Kind, says ...string) {
	r.Helper()
	if dm.KindOf(err) != kind {
		r.Errorf("it is %q: %v, want %q", dm.KindOf(err), err, kind)
	}
	for _, text := range says {
		if err != nil && !strings.Contains(dm.Public(err), text) {
			r.Errorf("it says %q, want %q in it", dm.Public(err), text)
		}
	}
}

func rootName(app dm.ApplicationName) string { return kube.Name(app, string(sort), "root") }

// The objects that the tests want, as a plugin would write them.

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"key": value},
	}
}

func service(name string) *corev1.Service {
	return &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{ClusterIP: "None", Ports: []corev1.ServicePort{{Name: "ui", Port: 4040}}},
	}
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"of": name}
	return &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()},
		},
	}
}

func job(name string) *batchv1.Job {
	suspend := true
	spec := podSpec()
	spec.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: batchv1.JobSpec{Suspend: &suspend, Template: corev1.PodTemplateSpec{Spec: spec}},
	}
}

// podSpec is a pod that Pod Security's level "restricted" lets run.
func podSpec() corev1.PodSpec {
	yes, no := true, false
	return corev1.PodSpec{
		ServiceAccountName: "jobs", AutomountServiceAccountToken: &no,
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: "main", Image: "example/engine:1",
			// Written as the API server does not write them.
			Resources:       corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("0.05"), "memory": resource.MustParse("1024Mi")}, Limits: corev1.ResourceList{"memory": resource.MustParse("1024Mi")}},
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
		}},
	}
}

// wire counts the requests of a client, and cuts one of them off.
type wire struct {
	next   http.RoundTripper
	cutAt  int  // which request, from 1; 0 for none
	behind bool // it reaches the API server, and the answer is lost

	mu     sync.Mutex
	count  int
	writes []string // the requests that would change something
}

var errCut = errors.New("the line was cut")

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(q *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.count++
	cut := w.count == w.cutAt
	if q.Method != http.MethodGet && !q.URL.Query().Has("dryRun") {
		w.writes = append(w.writes, q.Method+" "+q.URL.Path)
	}
	w.mu.Unlock()
	if cut && !w.behind {
		return nil, errCut
	}
	answer, err := w.next.RoundTrip(q)
	if cut && err == nil {
		answer.Body.Close()
		return nil, errCut
	}
	return answer, err
}

// wired is the rig's user's configuration by way of w.
func (r *rig) wired(w *wire) *rest.Config {
	config := rest.CopyConfig(r.user)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		w.next = next
		return w
	})
	return config
}

// eventually asks until there is no error, for at most two minutes.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := testcluster.Eventually(ctx, ask); err != nil {
		t.Fatalf("%s: not within two minutes: %v", what, err)
	}
}

// background is a context for what is tidied up when the test has ended.
func (r *rig) background() context.Context { return context.WithoutCancel(r.Context()) }

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
