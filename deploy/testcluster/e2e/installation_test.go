package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

const (
	namespace = "pnda"
	release   = "pnda"
	serverPod = "deployment-manager-0"
	patience  = 3 * time.Minute // for one pod to do one thing, on a busy machine
)

// installation is the chart on the node, and what a person knows of it.
type installation struct {
	settings settings
	cluster  *testcluster.Cluster
	client   *kubernetes.Clientset
	helm     *chart.Helm
	chart    *chartv2.Chart
	offered  []byte    // values for Helm that lie beside the server's image
	examples string    // a folder with the archives of the example packages
	began    time.Time // of helm install
	notes    string    // what Helm printed
	record   string    // what the server's repositories hold, once there is something
}

// TestInstallation takes one installation through its life. The steps follow
// one another: each begins where the one before ended.
func TestInstallation(t *testing.T) {
	if world == nil {
		unableOrSkip(t, unfit)
	}
	s, err := settingsOf(*world)
	if err != nil {
		t.Fatal(err)
	}
	in := newInstallation(t, s)
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"helm install", in.install},
		{"the pod is restricted", in.restricted},
		{"the commands that Helm prints", in.follow},
		{"deploy and create through kubectl", in.publish},
		{"notebooks in a user's pod", in.notebooks},
		{"pods that have the program, and that have none", in.otherWays},
		{"a pod of JupyterHub's", in.spawn},
		{"the pod is deleted", in.deletePod},
		{"the server is killed", in.killServer},
		{"helm upgrade to PNDA's mode", in.upgrade},
		{"the walk-through's curl lines", in.walkThrough},
		{"helm uninstall and install", in.reinstall},
	} {
		begun := time.Now()
		if !t.Run(step.name, step.do) {
			t.FailNow()
		}
		t.Logf("%s: %.1f s", step.name, time.Since(begun).Seconds())
	}
}

// settingsOf reads what the first process found.
func settingsOf(w node.World) (s settings, err error) {
	err = json.Unmarshal(w.Data, &s)
	s.World = w
	return s, err
}

// unableOrSkip ends a test that this machine cannot run: what a person may lack,
// the project's own checks may not.
func unableOrSkip(t *testing.T, reason error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// newInstallation starts the node and makes what a cluster's administrator
// makes: a namespace that lets only restricted pods in, and volumes.
func newInstallation(t *testing.T, s settings) *installation {
	t.Helper()
	begun := time.Now()
	images, err := makeImages(t.TempDir(), s)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := s.Start(t.Context(), node.Options{Images: append(images, s.Image), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("control plane and node: %.1f s", time.Since(begun).Seconds())
	in := &installation{settings: s, cluster: cluster.Cluster, client: cluster.Client}
	t.Cleanup(func() { in.explain(t) })
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	}}}
	if _, err := in.client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, claim := range []string{"deployment-manager", userClaim, hubClaim} {
		if err := node.Volume(t.Context(), namespace, claim); err != nil {
			t.Fatal(err)
		}
	}
	if in.examples, err = makeExamples(t.TempDir(), s.Checkout); err != nil {
		t.Fatal(err)
	}
	if in.offered, err = os.ReadFile(node.ServerValues(s.Image)); err != nil {
		t.Fatal(err)
	}
	if in.helm, err = chart.NewHelm(cluster.Config(), namespace); err != nil {
		t.Fatal(err)
	}
	if in.chart, err = chart.Load(filepath.Join(s.Checkout, "deploy/helm/deployment-manager")); err != nil {
		t.Fatal(err)
	}
	return in
}

// await asks until there is no error.
func await(ctx context.Context, t *testing.T, what string, within time.Duration, ask func() error) {
	t.Helper()
	if err := node.Await(ctx, what, within, ask); err != nil {
		t.Fatal(err)
	}
}

// values are what a team gives the chart: what lies beside the image, its own
// user with a token, the name of old instructions, and no storage class, as the
// node has no driver.
func (in *installation) values(t *testing.T, more map[string]any) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.Unmarshal(in.offered, &values); err != nil {
		t.Fatal(err)
	}
	maps.Copy(values, map[string]any{
		"auth":        map[string]any{"tokens": in.settings.Tokens},
		"persistence": map[string]any{"storageClass": "-"},
		"jupyterhub":  map[string]any{"url": hubHome},
	})
	maps.Copy(values, more)
	return values
}

func (in *installation) install(t *testing.T) {
	in.began = time.Now()
	made, err := in.helm.Install(t.Context(), release, in.chart, in.values(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	in.notes = made.Info.Notes
	t.Logf("measured: from helm install to Ready by the pod's own probes %.1f s", time.Since(in.began).Seconds())
	if warnings := in.helm.Warnings(); len(warnings) > 0 {
		t.Errorf("the API server warned: %q", warnings)
	}
	in.pod(t, serverPod, isReady)
}

// restricted looks from inside at what the pod's manifest asks for, and makes
// sure that the namespace would refuse less.
func (in *installation) restricted(t *testing.T) {
	out := in.kubectl(t, "exec", serverPod, "--", "sh", "-c", `id -u; touch /tmp/x /x 2>&1; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; ls /var/run/secrets 2>&1; true`)
	for _, want := range []string{"10001\n", "Read-only file system", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "No such file"} {
		if !strings.Contains(out, want) {
			t.Errorf("in the server's container: got %q, want %q in it", out, want)
		}
	}
	if strings.Count(out, "Read-only file system") != strings.Count(out, "touch:") {
		t.Errorf("in the server's container: got %q, want all of the root file system read-only", out)
	}
	_, err := node.Run(t.Context(), "kubectl", "-n", namespace, "run", "free", "--image", userImage)
	if err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
		t.Errorf("a pod without restrictions: got %v, want it refused", err)
	}
}

// deletePod has the controller make the pod anew.
func (in *installation) deletePod(t *testing.T) {
	before := in.pod(t, serverPod, isReady).UID
	begun := time.Now()
	in.kubectl(t, "delete", "pod", serverPod)
	in.pod(t, serverPod, func(pod *corev1.Pod) error {
		if pod.UID == before {
			return errors.New("it is the pod that was deleted")
		}
		return isReady(pod)
	})
	t.Logf("measured: from kubectl delete pod to Ready %.1f s", time.Since(begun).Seconds())
	in.sameRecord(t)
}

// killServer ends the server without a word, as a lack of memory would; the
// kubelet starts it again in the same pod.
func (in *installation) killServer(t *testing.T) {
	pod := in.pod(t, serverPod, isReady)
	container := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
	pid, err := containerPid(t.Context(), container)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := pid.Kill(); err != nil {
		t.Fatal(err)
	}
	in.pod(t, serverPod, func(now *corev1.Pod) error {
		if now.UID != pod.UID || now.Status.ContainerStatuses[0].RestartCount == pod.Status.ContainerStatuses[0].RestartCount {
			return errors.New("its container was not started again")
		}
		return isReady(now)
	})
	t.Logf("measured: from kill -9 to Ready %.1f s", time.Since(begun).Seconds())
	in.sameRecord(t)
}

// upgrade goes to another image and another mode in one step.
func (in *installation) upgrade(t *testing.T) {
	if _, err := node.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "tag", imageName+":"+node.ServerTag, imageName+":e2e-next"); err != nil {
		t.Fatal(err)
	}
	before := in.pod(t, serverPod, isReady).UID
	begun := time.Now()
	values := in.values(t, map[string]any{
		"image": map[string]any{"tag": "e2e-next"},
		"auth":  map[string]any{"mode": "insecure-pnda", "insecureAnywhere": true},
	})
	if _, err := in.helm.Upgrade(t.Context(), release, in.chart, values); err != nil {
		t.Fatal(err)
	}
	pod := in.pod(t, serverPod, isReady)
	if image := pod.Spec.Containers[0].Image; pod.UID == before || image != "pnda/deployment-manager:e2e-next" {
		t.Errorf("after helm upgrade: got pod %s with image %s, want a new pod with e2e-next", pod.UID, image)
	}
	t.Logf("measured: helm upgrade to Ready %.1f s", time.Since(begun).Seconds())
	in.sameRecord(t)
}

// reinstall uninstalls, finds the claim and its data untouched, and installs
// again: the application is there.
func (in *installation) reinstall(t *testing.T) {
	in.record = in.readRecord(t)
	if err := in.helm.Uninstall(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	await(t.Context(), t, "the pod to be gone", patience, func() error {
		pods, err := in.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=deployment-manager"})
		if err == nil && len(pods.Items) > 0 {
			err = errors.New("it is still there")
		}
		return err
	})
	claim, err := in.client.CoreV1().PersistentVolumeClaims(namespace).Get(t.Context(), "deployment-manager", metav1.GetOptions{})
	if err != nil || claim.Status.Phase != corev1.ClaimBound {
		t.Fatalf("the claim after helm uninstall: got %v, %v, want it bound", claim.Status.Phase, err)
	}
	if _, err := os.Stat(filepath.Join(node.Folder, "volumes/deployment-manager/applications/noon-run.git/HEAD")); err != nil {
		t.Errorf("the volume after helm uninstall: %v", err)
	}
	begun := time.Now()
	if _, err := in.helm.Install(t.Context(), release, in.chart, in.values(t, nil)); err != nil {
		t.Fatal(err)
	}
	t.Logf("measured: from helm install on a claim that was kept to Ready %.1f s", time.Since(begun).Seconds())
	in.sameRecord(t)
	stop := in.forward(t, "deployment-manager", "5000")
	defer stop()
	in.awaitApplication(t, "noon-run")
}
