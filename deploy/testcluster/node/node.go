package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
{{if .DNS}}clusterDNS: [{{.NodeAddress}}]
clusterDomain: cluster.local
{{end}}`,
	"Corefile": `.:53 {
  bind {{.NodeAddress}}
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig {{.Kubeconfig}} test
    pods insecure
  }
}
`,
	// The machine's table of connections is left as it is.
	"proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: "{{.Kubeconfig}}"}
clusterCIDR: {{.PodNetwork}}
hostnameOverride: ` + Name + `
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
}

// Options say what a node is to have.
type Options struct {
	Images   []string  // archives of images; no registry is asked, pods find them on the node
	DNS      string    // the program that answers pods' questions for names; "" for none
	Progress io.Writer // hears what is waited for; nil means silent
}

// Node is a control plane and a node that runs pods, in the world of a Suite.
type Node struct {
	*testcluster.Cluster
	Client *kubernetes.Clientset
}

// Start starts a node and returns when pods can run on it. Stop must be called.
func (w World) Start(ctx context.Context, o Options) (*Node, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	cluster, err := testcluster.Start(ctx, testcluster.Options{
		Progress: o.Progress, Components: w.Components, Dir: Folder, Advertise: Address,
		// Pods ask the API server too. It is alone in its network.
		Flags: map[string][]string{"kube-apiserver": {"--bind-address=0.0.0.0", "--endpoint-reconciler-type=lease"}},
	})
	if err != nil {
		return nil, err
	}
	n := &Node{Cluster: cluster}
	if n.Client, err = kubernetes.NewForConfig(cluster.Config()); err == nil {
		err = n.start(ctx, w, o)
	}
	if err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	return n, os.Setenv("KUBECONFIG", cluster.Kubeconfig())
}

func (n *Node) start(ctx context.Context, w World, o Options) error {
	if err := n.writeFiles(w, o); err != nil {
		return err
	}
	run := func(name string, arguments ...string) error {
		command := exec.Command(name, arguments...)
		command.Dir = Folder
		_, err := n.Run(filepath.Base(name), command)
		return err
	}
	if err := run("containerd", "--config", "containerd.toml"); err != nil {
		return err
	}
	if err := importImages(ctx, o); err != nil {
		return err
	}
	if o.DNS != "" {
		if err := run(o.DNS, "-conf", "Corefile"); err != nil {
			return err
		}
	}
	if err := run(filepath.Join(w.Components, "kubelet"), "--config", "kubelet.yaml", "--kubeconfig", n.Kubeconfig(),
		"--hostname-override", Name, "--node-ip", Address, "--root-dir", Folder+"/kubelet", "--cert-dir", Folder+"/kubelet/pki"); err != nil {
		return err
	}
	if err := run(filepath.Join(w.Components, "kube-proxy"), "--config", "proxy.yaml"); err != nil {
		return err
	}
	return Await(ctx, "the node to be ready", Patience, func() error { return n.ready(ctx) })
}

func (n *Node) writeFiles(w World, o Options) error {
	values := map[string]any{"Folder": Folder, "PodNetwork": podNetwork, "Cgroup": w.Cgroup, "NodeAddress": Address,
		"CA": n.PKI().CA, "Kubeconfig": n.Kubeconfig(), "DNS": o.DNS != ""}
	for name, text := range files {
		filled, err := template.New(name).Parse(text)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := filled.Execute(&out, values); err != nil {
			return err
		}
		path := filepath.Join(Folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) ready(ctx context.Context) error {
	node, err := n.Client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("its conditions are %v", node.Status.Conditions)
}

// Patience is for one thing that takes seconds, on a busy machine.
const Patience = 3 * time.Minute

// Await asks until there is no error.
func Await(ctx context.Context, what string, within time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := testcluster.Eventually(ctx, ask); err != nil {
		return fmt.Errorf("waited %s for %s: %w", within, what, err)
	}
	return nil
}
