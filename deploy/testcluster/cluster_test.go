package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// TestCluster goes through a cluster's life: a Deployment with a claim becomes
// available, the claim grows, a user without rights is refused, and when it
// is stopped nothing is left.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	folder := t.TempDir()
	cluster := startForTest(t, Options{Components: components(t), Kwok: true, Dir: folder})
	if err := cluster.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(cluster.Config())
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "life"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	t.Run("deployment", func(t *testing.T) { deploy(ctx, t, client) })
	t.Run("claim grows", func(t *testing.T) { growClaim(ctx, t, client) })
	t.Run("user without rights", func(t *testing.T) {
		config, err := cluster.ConfigFor("stranger")
		if err != nil {
			t.Fatal(err)
		}
		_, err = kubernetes.NewForConfigOrDie(config).CoreV1().Pods("life").List(ctx, metav1.ListOptions{})
		if err == nil || !strings.Contains(err.Error(), `User "stranger" cannot list resource "pods"`) {
			t.Errorf("listing pods as a stranger: got %v, want a refusal that names the user", err)
		}
	})

	if running := processesIn(t, folder); len(running) < 5 {
		t.Fatalf("while the cluster runs, %d processes are in its folder, want at least 5: the check below would see nothing", len(running))
	}
	start := time.Now()
	if err := cluster.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("stopping took %s, want less than a minute", took)
	}
	if left := processesIn(t, folder); len(left) > 0 {
		t.Errorf("left after stopping: %v", left)
	}
	if err := cluster.Stop(); err != nil {
		t.Errorf("stopping again: %v", err)
	}
	if _, err := client.Discovery().ServerVersion(); err == nil {
		t.Error("the API server answers after it was stopped")
	}
}

func deploy(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	if _, err := client.CoreV1().PersistentVolumeClaims("life").Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "web"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					Containers: []corev1.Container{{Name: "web", Image: "never-pulled"}},
					Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
						PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
					}}},
				},
			},
		},
	}
	if _, err := client.AppsV1().Deployments("life").Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "the deployment is available", func() error {
		got, err := client.AppsV1().Deployments("life").Get(ctx, "web", metav1.GetOptions{})
		if err == nil && got.Status.AvailableReplicas != 1 {
			err = fmt.Errorf("its status is %+v", got.Status)
		}
		return err
	})
}

func growClaim(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	claims := client.CoreV1().PersistentVolumeClaims("life")
	want := resource.MustParse("2Gi")
	// A controller may change the claim between reading and writing it.
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		claim, err := claims.Get(ctx, "data", metav1.GetOptions{})
		if err != nil {
			return err
		}
		claim.Spec.Resources.Requests[corev1.ResourceStorage] = want
		_, err = claims.Update(ctx, claim, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "the claim has 2 GiB", func() error {
		got, err := claims.Get(ctx, "data", metav1.GetOptions{})
		if size := got.Status.Capacity[corev1.ResourceStorage]; err == nil && size.Cmp(want) != 0 {
			err = fmt.Errorf("it has %s", size.String())
		}
		return err
	})
}

// TestStartNamesWhatDied starts clusters of which one program cannot start.
func TestStartNamesWhatDied(t *testing.T) {
	t.Parallel()
	folder := components(t)
	for name, flag := range map[string]string{
		"etcd":                    "--data-dir=/dev/null/no-such",
		"kube-apiserver":          "--no-such",
		"kube-controller-manager": "--no-such",
		"kwok":                    "--no-such",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			run := t.TempDir()
			cluster, err := Start(ctx, Options{Components: folder, Kwok: true, Dir: run, Flags: map[string][]string{name: {flag}}})
			if err == nil {
				_ = cluster.Stop()
				t.Fatal("the cluster started")
			}
			for _, want := range []string{name + " ended: exit status", "no-such"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to contain %q", err, want)
				}
			}
			if left := processesIn(t, run); len(left) > 0 {
				t.Errorf("left after the start failed: %v", left)
			}
		})
	}
}

// TestStopNamesWhatDied kills a program of a running cluster; nobody else may.
func TestStopNamesWhatDied(t *testing.T) {
	t.Parallel()
	cluster, err := Start(t.Context(), Options{Components: components(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range cluster.processes {
		if process.Name == "kube-scheduler" {
			if err := process.signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			<-process.Ended()
		}
	}
	if err := cluster.Stop(); err == nil || !strings.Contains(err.Error(), "kube-scheduler ended: signal: killed") {
		t.Errorf("stopping: got %v, want it to name the scheduler and the signal", err)
	}
	if _, err := os.Stat(cluster.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary folder: got %v, want it to be gone", err)
	}
}

// TestComponentsOnce asks twice at once; both get the same folder.
func TestComponentsOnce(t *testing.T) {
	t.Parallel()
	first := components(t)
	got := make(chan string)
	for range 2 {
		go func() {
			folder, err := Components(t.Context(), os.Stderr)
			if err != nil {
				folder = err.Error()
			}
			got <- folder
		}()
	}
	for range 2 {
		if folder := <-got; folder != first {
			t.Errorf("got %q, want %q", folder, first)
		}
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "kwok"} {
		if info, err := os.Stat(filepath.Join(first, name)); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: got %v, %v, want a program", name, info, err)
		}
	}
}

// TestRemoveUnfinished keeps what is finished, and other builds.
func TestRemoveUnfinished(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	for _, name := range []string{"one.building-1/etcd", "one.building-2", "one", "two.building-1"} {
		if err := os.MkdirAll(filepath.Join(cache, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeUnfinished(filepath.Join(cache, "one")); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(cache, "one"), filepath.Join(cache, "two.building-1")}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}

func components(t *testing.T) string {
	t.Helper()
	folder, err := Components(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func startForTest(t *testing.T, options Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cluster, err := Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

func eventually(ctx context.Context, t *testing.T, what string, ask func() error) {
	t.Helper()
	if err := Eventually(ctx, ask); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// processesIn lists the processes whose working folder is in the folder, with
// their command lines.
func processesIn(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		// A process that ends meanwhile, or another user's, is none of ours.
		at, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err != nil || !strings.HasPrefix(at, folder) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		found = append(found, entry.Name()+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return found
}
