package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// kubectl runs it in the installation's namespace and returns what it printed.
func (in *installation) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := node.Run(t.Context(), "kubectl", append([]string{"-n", namespace}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// forward runs kubectl port-forward until stop is called. The port is the one
// that instructions name: the namespace of the test has it free.
func (in *installation) forward(t *testing.T, service, port string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, "kubectl", "-n", namespace, "port-forward", "service/"+service, port)
	var fault bytes.Buffer
	command.Stderr = &fault
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	stop = func() {
		cancel()
		var exit *exec.ExitError
		if err := command.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "Forwarding from 127.0.0.1:"+port) {
		stop()
		t.Fatalf("kubectl port-forward service/%s %s: got %q, %v\n%s", service, port, line, err, fault.String())
	}
	return stop
}

// pod waits until the pod is as wanted.
func (in *installation) pod(t *testing.T, name string, wanted func(*corev1.Pod) error) (pod *corev1.Pod) {
	t.Helper()
	await(t.Context(), t, "pod "+name, patience, func() (err error) {
		if pod, err = in.client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		return wanted(pod)
	})
	return pod
}

func isReady(pod *corev1.Pod) error {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
			return nil
		}
	}
	return fmt.Errorf("it is not ready: %s %s", pod.Status.Phase, pod.Status.Message)
}

// containerPid finds the container's first process among the node's.
func containerPid(ctx context.Context, container string) (*os.Process, error) {
	out, err := node.Run(ctx, "ctr", "-n", "k8s.io", "tasks", "ls")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != container {
			continue
		}
		pid, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, err
		}
		return os.FindProcess(pid)
	}
	return nil, fmt.Errorf("containerd has no container %s:\n%s", container, out)
}

// explain shows what Kubernetes knows of a failure.
func (in *installation) explain(t *testing.T) {
	if !t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, what := range [][]string{
		{"get", "pods,services,endpointslices,pvc", "-o", "wide"},
		{"describe", "pods"},
		{"logs", serverPod, "--tail", "30"},
		{"logs", serverPod, "--tail", "10", "--previous"},
	} {
		out, err := node.Run(ctx, "kubectl", append([]string{"-n", namespace}, what...)...)
		if err != nil {
			out = err.Error()
		}
		t.Logf("kubectl %s:\n%s", strings.Join(what, " "), out)
	}
}
