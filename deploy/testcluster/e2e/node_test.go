package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// files are the configuration of the node's programs.
var files = map[string]string{
	"cni/10-pods.conflist": `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "{{.Folder}}/addresses", "ranges": [[{"subnet": "{{.PodNetwork}}"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`,
	"containerd.toml": `version = 2
root = "{{.Folder}}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{{.Folder}}/cni"
`,
	"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{{.Cgroup}}
address: {{.NodeAddress}}
readOnlyPort: 0
healthzPort: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "{{.CA}}"}}
authorization: {mode: Webhook}
makeIPTablesUtilChains: false
failSwapOn: false
resolvConf: ""
evictionHard: {memory.available: "50Mi", nodefs.available: "1%", imagefs.available: "1%"}
enforceNodeAllocatable: []
volumePluginDir: {{.Folder}}/plugins
podLogsDir: {{.Folder}}/logs/pods
nodeStatusUpdateFrequency: 2s
`,
	// The machine's table of connections is left as it is.
	"proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: "{{.Kubeconfig}}"}
clusterCIDR: {{.PodNetwork}}
hostnameOverride: ` + nodeName + `
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
}

// startNode starts a control plane and a node that runs pods.
func startNode(ctx context.Context, t *testing.T, s settings) *testcluster.Cluster {
	t.Helper()
	cluster, err := testcluster.Start(ctx, testcluster.Options{Progress: os.Stderr, Components: s.Components, Dir: nodeFolder, Advertise: nodeAddress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := writeFiles(cluster, s); err != nil {
		t.Fatal(err)
	}
	run := func(name string, arguments ...string) {
		command := exec.Command(name, arguments...)
		command.Dir = nodeFolder
		if _, err := cluster.Run(filepath.Base(name), command); err != nil {
			t.Fatal(err)
		}
	}
	run("containerd", "--config", "containerd.toml")
	importImages(ctx, t, s)
	run(filepath.Join(s.Components, "kubelet"), "--config", "kubelet.yaml", "--kubeconfig", cluster.Kubeconfig(),
		"--hostname-override", nodeName, "--node-ip", nodeAddress, "--root-dir", nodeFolder+"/kubelet", "--cert-dir", nodeFolder+"/kubelet/pki")
	run(filepath.Join(s.Components, "kube-proxy"), "--config", "proxy.yaml")
	awaitNode(ctx, t, cluster)
	return cluster
}

func writeFiles(cluster *testcluster.Cluster, s settings) error {
	values := map[string]string{"Folder": nodeFolder, "PodNetwork": podNetwork, "Cgroup": s.Cgroup, "NodeAddress": nodeAddress,
		"CA": cluster.PKI().CA, "Kubeconfig": cluster.Kubeconfig()}
	for name, text := range files {
		filled, err := template.New(name).Parse(text)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := filled.Execute(&out, values); err != nil {
			return err
		}
		path := filepath.Join(nodeFolder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func awaitNode(ctx context.Context, t *testing.T, cluster *testcluster.Cluster) {
	t.Helper()
	client := kubernetes.NewForConfigOrDie(cluster.Config())
	await(ctx, t, "the node to be ready", patience, func() error {
		node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %v", node.Status.Conditions)
	})
}

// await asks until there is no error.
func await(ctx context.Context, t *testing.T, what string, within time.Duration, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := testcluster.Eventually(ctx, ask); err != nil {
		t.Fatalf("waited %s for %s: %v", within, what, err)
	}
}

// run runs a program of the node and returns what it printed.
func run(ctx context.Context, name string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, name, arguments...)
	var out, fault bytes.Buffer
	command.Stdout, command.Stderr = &out, &fault
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(arguments, " "), err, out.String(), fault.String())
	}
	return out.String(), nil
}
