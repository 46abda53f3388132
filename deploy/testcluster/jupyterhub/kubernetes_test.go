package jupyterhub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

const (
	namespace  = "pnda"
	goldenPod  = "testdata/pod.yaml"
	podToken   = "0123456789ab4def8123456789abcdef" // stands for a pod's token in the golden file
	podPerson  = "dora"
	oddPerson  = "zoë o'neil+50%?#@example.com"
	configMap  = "deployment-manager-sync"
	scriptPath = "/etc/deployment-manager/sync.sh"

	programImage = "registry.example/pnda/deployment-manager:1.0.0"
)

// TestKubeSpawner has a real Hub make pods from our values on a real API server
// that enforces Pod Security "restricted". kwok plays the kubelet, so the pods
// become ready and nothing in them runs.
func TestKubeSpawner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cluster := startCluster(t)
	client := kubernetes.NewForConfigOrDie(cluster.Config())
	s := newKubernetesSite(t, cluster)
	s.hub.start(t)
	s.server.start(t)

	t.Run("the pod", func(t *testing.T) {
		pod := s.spawn(t, client, podPerson)
		wantPod(t, pod, podPerson)
		wantGolden(t, filepath.Join(s.folder, "pod-"+podPerson+".yaml"), variable(pod, "JUPYTERHUB_API_TOKEN"))
		if got := s.repository(t, podPerson, podPerson, variable(pod, "JUPYTERHUB_API_TOKEN")); got != http.StatusOK {
			t.Errorf("the pod's token at its user's repository: want 200, got %d", got)
		}
		wantPolicies(t, pod)
	})
	t.Run("a name with odd characters", func(t *testing.T) {
		pod := s.spawn(t, client, oddPerson)
		wantPod(t, pod, oddPerson)
		if got := s.repository(t, oddPerson, oddPerson, variable(pod, "JUPYTERHUB_API_TOKEN")); got != http.StatusOK {
			t.Errorf("the pod's token at its user's repository: want 200, got %d", got)
		}
	})
	limit := resource.MustParse("64Mi")
	for delivery, want := range map[string]corev1.VolumeSource{
		"init-container": {EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}},
		// Real nodes here have a containerd that knows no such volumes; that our
		// program is found in its tree, TestHub5 shows with a folder.
		"image-volume": {Image: &corev1.ImageVolumeSource{Reference: programImage, PullPolicy: corev1.PullIfNotPresent}},
	} {
		t.Run("the program by "+delivery, func(t *testing.T) {
			s.hub.stop(t)
			s.hub.with("DM_SYNC_IMAGE="+programImage, "DM_SYNC_DELIVERY="+delivery)
			s.hub.start(t)
			pod := s.spawn(t, client, podPerson+"-"+delivery)
			wantPod(t, pod, podPerson+"-"+delivery)
			wantProgram(t, pod, want)
		})
	}
	t.Run("without our security context it is refused", func(t *testing.T) {
		pod := s.spawn(t, client, podPerson)
		bare := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare", Namespace: namespace}, Spec: *pod.Spec.DeepCopy()}
		bare.Spec.Containers[0].SecurityContext, bare.Spec.NodeName = nil, ""
		_, err := client.CoreV1().Pods(namespace).Create(ctx, bare, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "PodSecurity") {
			t.Errorf("want a refusal by Pod Security, got %v", err)
		}
	})
}

// startCluster starts a cluster with the namespace and what the chart of the Hub
// gives the Hub's service account there.
func startCluster(t *testing.T) *testcluster.Cluster {
	t.Helper()
	environment(t) // skips before anything is started
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cluster, err := testcluster.Start(ctx, testcluster.Options{Kwok: true, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(cluster.Config())
	restricted := map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: restricted}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Without it a pod is refused, and the Hub gives up.
	eventually(t, waitForChange, func() error {
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	_, err = client.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "hub"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "persistentvolumeclaims"}, Verbs: []string{"get", "watch", "list", "create", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"get", "watch", "list"}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "hub"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "hub"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "hub"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// newKubernetesSite is a site whose Hub makes pods.
func newKubernetesSite(t *testing.T, cluster *testcluster.Cluster) *site {
	t.Helper()
	s := newSite(t)
	kubeconfig, err := cluster.KubeconfigFor("hub")
	if err != nil {
		t.Fatal(err)
	}
	local, config, values := s.hub.command, absolute(t, kubeFile), absolute(t, valuesFile)
	s.hub.command = func() *exec.Cmd {
		cmd := local()
		cmd.Args[len(cmd.Args)-1] = config
		// As in the Hub's own pod, where nothing is set: our defaults hold.
		cmd.Env = slices.DeleteFunc(cmd.Env, func(pair string) bool {
			return strings.HasPrefix(pair, "DM_GIT_URL=") || strings.HasPrefix(pair, "DM_SYNC_SCRIPT=")
		})
		cmd.Env = append(cmd.Env, "KUBECONFIG="+kubeconfig, "DM_TEST_NAMESPACE="+namespace, "DM_TEST_FILE="+values)
		return cmd
	}
	return s
}

// spawn asks the Hub for the user's server, unless it runs, and returns the pod
// when its node has it running.
func (s *site) spawn(t *testing.T, client kubernetes.Interface, user string) *corev1.Pod {
	t.Helper()
	path := "/users/" + url.PathEscape(user)
	if status, answer := call(t, "POST", s.api+path, "token "+serviceToken, ""); status == http.StatusCreated {
		s.ask(t, "POST", path+"/server", "", http.StatusAccepted)
	} else if status != http.StatusConflict {
		t.Fatalf("make the user %s: %d %s", user, status, answer)
	}
	var found *corev1.Pod
	eventually(t, waitForServer, func() error {
		pods, err := client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.Annotations["hub.jupyter.org/username"] == user {
				if found = &pod; pod.Status.Phase != corev1.PodRunning {
					return fmt.Errorf("the pod of %s is %s: %+v", user, pod.Status.Phase, pod.Status.Conditions)
				}
				return nil
			}
		}
		return fmt.Errorf("there is no pod of %s", user)
	})
	return found
}

// variable is the value of the first container's variable.
func variable(pod *corev1.Pod, name string) string {
	for _, v := range pod.Spec.Containers[0].Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// wantPod checks what the hook needs and what a notebook must not have.
func wantPod(t *testing.T, pod *corev1.Pod, user string) {
	t.Helper()
	container := pod.Spec.Containers[0]
	if got := variable(pod, "JUPYTERHUB_USER"); got != user {
		t.Errorf("JUPYTERHUB_USER: want %q, got %q", user, got)
	}
	if variable(pod, "JUPYTERHUB_API_TOKEN") == "" {
		t.Error("the pod has no JUPYTERHUB_API_TOKEN")
	}
	if got, want := variable(pod, "DM_GIT_URL"), "http://deployment-manager-git:8099"; got != want {
		t.Errorf("DM_GIT_URL: want %s, got %s", want, got)
	}
	if container.Lifecycle == nil || container.Lifecycle.PostStart == nil || container.Lifecycle.PostStart.Exec == nil {
		t.Fatal("the pod has no hook")
	}
	want := []string{"sh", "-c", "if [ -r '" + scriptPath + "' ]; then sh '" + scriptPath + "'; fi; exit 0"}
	if got := container.Lifecycle.PostStart.Exec.Command; !slices.Equal(got, want) {
		t.Errorf("the hook: want %q, got %q", want, got)
	}
	volume := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil && v.ConfigMap.Name == configMap })
	if volume < 0 {
		t.Fatalf("no volume of the ConfigMap %s: %+v", configMap, pod.Spec.Volumes)
	}
	if source := pod.Spec.Volumes[volume].ConfigMap; source.Optional == nil || !*source.Optional {
		t.Errorf("the ConfigMap is not optional, so no pod starts without it: %+v", source)
	}
	if !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == pod.Spec.Volumes[volume].Name && m.MountPath == filepath.Dir(scriptPath) && m.ReadOnly
	}) {
		t.Errorf("the ConfigMap is not mounted read-only at %s: %+v", filepath.Dir(scriptPath), container.VolumeMounts)
	}
	if !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/home/jovyan" }) {
		t.Errorf("the home is not mounted: %+v", container.VolumeMounts)
	}
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken || pod.Spec.ServiceAccountName != "default" {
		t.Errorf("the pod can use the service account %q", pod.Spec.ServiceAccountName)
	}
}

// wantProgram checks that the volume is what brings the program, read-only where
// the script looks for it.
func wantProgram(t *testing.T, pod *corev1.Pod, want corev1.VolumeSource) {
	t.Helper()
	const name = "deployment-manager-program"
	volume := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if volume < 0 || !equality.Semantic.DeepEqual(pod.Spec.Volumes[volume].VolumeSource, want) {
		t.Errorf("the volumes: want one of %+v, got %+v", want, pod.Spec.Volumes)
	}
	if !slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == name && m.MountPath == "/opt/deployment-manager" && m.ReadOnly
	}) {
		t.Errorf("the program is not mounted read-only: %+v", pod.Spec.Containers[0].VolumeMounts)
	}
	first := pod.Spec.InitContainers
	if want.EmptyDir == nil && len(first) > 0 || want.EmptyDir != nil && (len(first) != 1 || first[0].Image != programImage || first[0].ImagePullPolicy != corev1.PullIfNotPresent) {
		t.Errorf("the init containers: got %+v", first)
	}
}

// wantPolicies checks that the rules in our values, and those that the Hub's
// chart makes, mean this pod.
func wantPolicies(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	// How the chart's own policies select users' pods and let them to the Hub.
	for _, selector := range []string{"component=singleuser-server,app=jupyterhub,release=jupyterhub", "hub.jupyter.org/network-access-hub=true"} {
		parsed, err := labels.Parse(selector)
		if err != nil {
			t.Fatal(err)
		}
		if !parsed.Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s does not select the pod: %v", selector, pod.Labels)
		}
	}
}

// wantGolden compares the pod as KubeSpawner handed it over with the golden file,
// which other tests start as a real pod.
func wantGolden(t *testing.T, file, token string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(text), token, podToken)
	if *update {
		if err := os.WriteFile(goldenPod, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenPod)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the pod is another than %s; look at the difference, then run this test with -update\n%s", goldenPod, got)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(want, &pod); err != nil {
		t.Errorf("%s: %v", goldenPod, err)
	}
}
