package testcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// serviceAddress is the first of the Services' range, which the API server
// takes for itself.
const (
	servicesRange  = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"
)

var errPortTaken = errors.New("another program took the port")

// startAll starts the programs in order and waits until they work together.
func (c *Cluster) startAll(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	if err := c.startServer(); err != nil {
		return err
	}
	if err := c.await(ctx, "the API server to be ready", func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return err
	}
	if err := c.startControllers(); err != nil {
		return err
	}
	if c.options.Kwok {
		if err := c.startKwok(ctx, client); err != nil {
			return err
		}
	}
	return c.await(ctx, "the default service account", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// startServer starts etcd and the API server. etcd listens on a socket in the
// run's folder only, so that it needs no port.
func (c *Cluster) startServer() error {
	host, port, err := net.SplitHostPort(c.address)
	if err != nil {
		return err
	}
	advertise := c.options.Advertise
	if advertise == "" {
		advertise = host
	}
	addresses := []net.IP{net.ParseIP(host), net.ParseIP(advertise), net.ParseIP(serviceAddress)}
	serving, err := c.pki.Server("kube-apiserver", addresses, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	kubelet, err := c.pki.Client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	if err := c.writeKubeconfig(c.Kubeconfig(), c.admin); err != nil {
		return err
	}
	const etcd = "unix://etcd.sock:0"
	const peers = "http://127.0.0.1:0" // one member never speaks to another
	if err := c.program("etcd", "--data-dir=etcd", "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers,
		"--unsafe-no-fsync", "--log-level=warn"); err != nil {
		return err
	}
	return c.program("kube-apiserver", "--etcd-servers="+etcd, "--bind-address="+host, "--secure-port="+port, "--advertise-address="+advertise,
		"--tls-cert-file="+serving.Certificate, "--tls-private-key-file="+serving.Key, "--client-ca-file="+c.pki.CA,
		"--service-cluster-ip-range="+servicesRange, "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file="+c.pki.ServiceAccountKey, "--service-account-key-file="+c.pki.ServiceAccountPub,
		"--authorization-mode=Node,RBAC", "--endpoint-reconciler-type=none", "--allow-privileged=true",
		"--kubelet-client-certificate="+kubelet.Certificate, "--kubelet-client-key="+kubelet.Key, "--kubelet-preferred-address-types=InternalIP")
}

// startControllers starts the controllers and the scheduler. They serve nothing
// and so need no port; without the raised limits a start takes twice as long.
func (c *Cluster) startControllers() error {
	controllers, err := c.KubeconfigFor("system:kube-controller-manager")
	if err != nil {
		return err
	}
	if err := c.program("kube-controller-manager", "--kubeconfig="+controllers, "--secure-port=0", "--leader-elect=false",
		"--use-service-account-credentials=true", "--kube-api-qps=300", "--kube-api-burst=600", "--allocate-node-cidrs=false",
		"--service-account-private-key-file="+c.pki.ServiceAccountKey, "--root-ca-file="+c.pki.CA); err != nil {
		return err
	}
	scheduler, err := c.KubeconfigFor("system:kube-scheduler")
	if err != nil {
		return err
	}
	return c.program("kube-scheduler", "--kubeconfig="+scheduler, "--secure-port=0", "--leader-elect=false", "--kube-api-qps=300", "--kube-api-burst=600")
}

// startKwok makes a node and plays its kubelet.
func (c *Cluster) startKwok(ctx context.Context, client kubernetes.Interface) error {
	stages := c.path("kwok.yaml")
	if err := os.WriteFile(stages, []byte(kwokStages), 0o600); err != nil {
		return err
	}
	// The pods' addresses are names only. They are from the range for
	// documentation: those of loopback are refused in endpoints.
	if err := c.program("kwok", "--kubeconfig="+c.Kubeconfig(), "--config="+stages, "--manage-all-nodes=true",
		"--cidr=198.51.100.0/24", "--node-ip=127.0.0.1", "--node-lease-duration-seconds=40"); err != nil {
		return err
	}
	const name = "kwok-0"
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: runtime.GOARCH,
	}}}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return c.await(ctx, "the node to be ready", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("it is not ready")
	})
}

// program starts one of the components in the run's folder, with nothing of
// this process's environment that could send it elsewhere, such as a proxy.
func (c *Cluster) program(name string, flags ...string) error {
	command := exec.Command(filepath.Join(c.options.Components, name), append(flags, c.options.Flags[name]...)...)
	command.Dir = c.options.Dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.options.Dir, "TMPDIR=" + os.TempDir()}
	_, err := c.run(name, command, 0)
	return err
}

// await asks until there is no error, a program ends or the context does.
func (c *Cluster) await(ctx context.Context, what string, ask func(context.Context) error) error {
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	said := time.NewTicker(15 * time.Second)
	defer said.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		fault := ask(once)
		cancel()
		if fault == nil {
			return nil
		}
		if err := c.dead(); err != nil {
			return fmt.Errorf("while the cluster started, waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last answer: %w", what, ctx.Err(), fault)
		case <-said.C:
			fmt.Fprintf(c.options.Progress, "waiting for %s, %s so far\n", what, time.Since(start).Round(time.Second))
		case <-tick.C:
		}
	}
}

// dead tells which program of the control plane has ended although nobody
// stopped it.
func (c *Cluster) dead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	for _, process := range c.processes {
		if process.grace > 0 {
			continue // its owner's matter
		}
		select {
		case <-process.ended:
			fault := process.Fault()
			if strings.Contains(fault.Error(), "address already in use") {
				return errors.Join(errPortTaken, fault)
			}
			return fault
		default:
		}
	}
	return nil
}
