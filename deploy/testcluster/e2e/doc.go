// Package e2e installs the chart on a node that really runs containers, and
// holds what a person is promised: the image runs as the chart asks, PNDA's
// commands reach it through kubectl, and a notebook arrives in another pod.
//
// Real are the image, kubelet, containerd, runc, kube-proxy (with nftables) and
// the CNI plugin ptp, beside the control plane of package testcluster, kubectl
// and curl, and a JupyterHub whose KubeSpawner makes a pod. Missing are:
//
//   - Jupyter in the user's pod: the image is a small Debian with git, in which
//     the start hook runs and a web server stands for Jupyter's. Package
//     jupyterhub has Jupyter, without containers;
//   - a name server: pods find Services by their cluster addresses, which the
//     test writes into the pods' /etc/hosts;
//   - what enforces a NetworkPolicy;
//   - a storage driver: the test makes volumes of folders of the node, in memory;
//   - volumes of images, which Debian's containerd 1.6 does not know. Package
//     jupyterhub has the API server take such pods, and a program in the tree
//     of an image;
//   - a registry: images are brought into containerd from archives.
//
// The test starts itself a second time in mount, process, network, host name
// and IPC namespaces of its own, where the node's folders are in memory. When
// that second process ends, however it ends, the kernel ends every container,
// mount and interface with it; the first process then removes what is left,
// the control groups, and makes sure that nothing is. Nothing is installed on
// the machine, and one setting of its kernel is changed, where control groups are
// of version 2: while the test runs, the root hands all its controllers on. What
// it did not hand on before is taken back, unless the first process is killed
// with SIGKILL.
//
// It imports package chart for Helm, package debian for the node's programs, and
// runs the Hub that package jupyterhub configures. It needs root, apt and dpkg,
// and Linux with overlay file systems, veth interfaces and nftables. Without them
// it is skipped, with the reason; with CI=true that is a failure.
package e2e
