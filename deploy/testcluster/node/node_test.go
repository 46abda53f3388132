package node_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// world is the node's, nil where this machine can't be one, for which unfit has the
// reason. TestMain finds it out.
var (
	world *node.World
	unfit error
)

func TestMain(m *testing.M) {
	flag.Parse()
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		panic(err)
	}
	suite := node.Suite{
		Name: "node", Checkout: checkout, OnDisk: true,
		Able: func() error {
			if testing.Short() || flag.Lookup("test.list").Value.String() != "" {
				return errors.New("-short or -list was given")
			}
			return nil
		},
		Prepare: func(ctx context.Context, w *node.World) (any, error) {
			dns, err := node.CoreDNS(ctx, os.Stderr)
			w.Show = append(w.Show, filepath.Dir(dns))
			return dns, err
		},
		Run: func(w *node.World, reason error) int {
			world, unfit = w, reason
			return m.Run()
		},
	}
	os.Exit(suite.Main())
}

// asks is what a pod asks: the names of a cluster, and the API server by its own.
const asks = `
apiVersion: v1
kind: Service
metadata: {name: beside}
spec: {clusterIP: None, ports: [{port: 1}], selector: {app: asks}, publishNotReadyAddresses: true}
---
apiVersion: v1
kind: Pod
metadata: {name: asks, labels: {app: asks}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  containers:
  - name: asks
    image: localhost/pause:node
    imagePullPolicy: Never
    command: [/bin/busybox, sh, -ec]
    args:
    - |
      until busybox nslookup -type=a beside.default.svc.cluster.local; do busybox sleep 0.1; done
      printf 'GET / HTTP/1.0\r\n\r\n' | busybox nc kubernetes.default.svc 443
`

// TestPodsFindTheServer has a pod find the API server by its name, which nothing but
// the node's own programs answers for.
func TestPodsFindTheServer(t *testing.T) {
	if world == nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(unfit) // what a person may lack, the project's own checks may not
		}
		t.Skip(unfit)
	}
	begun := time.Now()
	n, err := world.Start(t.Context(), node.Options{DNS: program(t), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("started in %.1f s", time.Since(begun).Seconds())
	if err := node.Apply(t.Context(), "default", asks); err != nil {
		t.Fatal(err)
	}
	pod, err := ended(t.Context(), n, "asks")
	if err != nil {
		t.Fatal(err)
	}
	said, err := node.Run(t.Context(), "kubectl", "logs", "asks")
	if err != nil {
		t.Fatal(err)
	}
	if pod.Status.Phase != corev1.PodSucceeded {
		t.Fatalf("the pod is %s and says\n%s", pod.Status.Phase, said)
	}
	// Busybox speaks no TLS that the API server takes, so that says what is wrong.
	for _, want := range []string{"Address: " + pod.Status.PodIP + "\n", "HTTP request to an HTTPS server"} {
		if !strings.Contains(said, want) {
			t.Errorf("the pod says\n%s\nwant %s in it", said, want)
		}
	}
}

// program is what answers for names.
func program(t *testing.T) string {
	t.Helper()
	return strings.Trim(string(world.Data), `"`)
}

func ended(ctx context.Context, n *node.Node, name string) (pod *corev1.Pod, err error) {
	return pod, node.Await(ctx, "the end of pod "+name, node.Patience, func() error {
		if pod, err = n.Client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if phase := pod.Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			return fmt.Errorf("it is %s", phase)
		}
		return nil
	})
}
