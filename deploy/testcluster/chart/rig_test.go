package chart_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
)

const (
	release = "pnda"
	name    = "deployment-manager" // of the StatefulSet, the claim and the chart
)

// startCluster starts the control plane that one test's namespaces share.
func startCluster(t *testing.T) *testcluster.Cluster {
	t.Helper()
	cluster, err := testcluster.Start(t.Context(), testcluster.Options{Kwok: true, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The rights of "admin" are put together by a controller after the start.
	client := kubernetes.NewForConfigOrDie(cluster.Config())
	eventually(t, "the role admin has its rights", func() error {
		role, err := client.RbacV1().ClusterRoles().Get(t.Context(), "admin", metav1.GetOptions{})
		if err == nil && len(role.Rules) == 0 {
			err = errors.New("it has no rules")
		}
		return err
	})
	return cluster
}

// rig is a namespace, what watches it with all rights, and a Helm whose user
// administers this namespace only.
type rig struct {
	*testing.T
	namespace string
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	helm      *chart.Helm
}

func newRig(t *testing.T, cluster *testcluster.Cluster, namespace string) *rig {
	t.Helper()
	watching := cluster.Config()
	watching.WarningHandler = rest.NoWarnings{} // it looks at old kinds too; what Helm is told is what counts
	r := &rig{T: t, namespace: namespace, client: kubernetes.NewForConfigOrDie(watching), dynamic: dynamic.NewForConfigOrDie(watching)}
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
	if _, err := r.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	user := "team-" + namespace
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
	}
	if _, err := r.client.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.limit()
	// What controllers put into every namespace belongs to what a test finds there.
	eventually(t, "the namespace has what all have", func() error {
		_, err := r.client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
		if err == nil {
			_, err = r.client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		}
		return err
	})
	config, err := cluster.ConfigFor(user)
	if err != nil {
		t.Fatal(err)
	}
	own := kubernetes.NewForConfigOrDie(config)
	eventually(t, "the user's rights hold", func() error {
		_, err := own.AppsV1().StatefulSets(namespace).List(t.Context(), metav1.ListOptions{})
		return err
	})
	if r.helm, err = chart.NewHelm(config, namespace); err != nil {
		t.Fatal(err)
	}
	return r
}

// limit gives the namespace a quota, as shared clusters have. It refuses pods
// that do not say what they need.
func (r *rig) limit() {
	r.Helper()
	hard := corev1.ResourceList{
		corev1.ResourceRequestsCPU: resource.MustParse("4"), corev1.ResourceRequestsMemory: resource.MustParse("4Gi"), corev1.ResourceLimitsMemory: resource.MustParse("8Gi"),
	}
	quotas := r.client.CoreV1().ResourceQuotas(r.namespace)
	if _, err := quotas.Create(r.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{}); err != nil {
		r.Fatal(err)
	}
	eventually(r.T, "the quota is in force", func() error {
		quota, err := quotas.Get(r.Context(), "team", metav1.GetOptions{})
		if err == nil && len(quota.Status.Hard) == 0 {
			err = errors.New("its status is empty")
		}
		return err
	})
}

// noWarnings fails when the API server warned of something.
func (r *rig) noWarnings() {
	r.Helper()
	for _, text := range r.helm.Warnings() {
		r.Errorf("the API server warns: %s", text)
	}
}

func (r *rig) statefulSet() *appsv1.StatefulSet {
	r.Helper()
	set, err := r.client.AppsV1().StatefulSets(r.namespace).Get(r.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return set
}

func (r *rig) pod() *corev1.Pod {
	r.Helper()
	pod, err := r.client.CoreV1().Pods(r.namespace).Get(r.Context(), name+"-0", metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return pod
}

func (r *rig) claim() *corev1.PersistentVolumeClaim {
	r.Helper()
	claim, err := r.client.CoreV1().PersistentVolumeClaims(r.namespace).Get(r.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return claim
}

// everything lists the namespace's objects of all kinds as "kind/name", but
// events, which tell of the past.
func (r *rig) everything() []string {
	r.Helper()
	kinds, err := r.client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		r.Fatal(err)
	}
	var found []string
	for _, group := range kinds {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			r.Fatal(err)
		}
		for _, kind := range group.APIResources {
			if kind.Kind == "Event" || !slices.Contains(kind.Verbs, "list") {
				continue
			}
			list, err := r.dynamic.Resource(version.WithResource(kind.Name)).Namespace(r.namespace).List(r.Context(), metav1.ListOptions{})
			if err != nil {
				r.Fatal(err)
			}
			for _, item := range list.Items {
				found = append(found, kind.Kind+"/"+item.GetName())
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func loadChart(t *testing.T) *chartv2.Chart {
	t.Helper()
	loaded, err := chart.Load(chart.Source)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// parse reads values as a person writes them.
func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return values
}

// objects are the manifest's objects by "kind/name".
func objects(t *testing.T, manifest string) map[string]*unstructured.Unstructured {
	t.Helper()
	found := map[string]*unstructured.Unstructured{}
	for text := range strings.SplitSeq("\n"+manifest, "\n---") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if object.Object != nil {
			found[object.GetKind()+"/"+object.GetName()] = object
		}
	}
	return found
}

// eventually asks until there is no error, for at most three minutes.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := testcluster.Eventually(ctx, ask); err != nil {
		t.Fatalf("%s: not within three minutes: %v", what, err)
	}
}
