// Package node is a Kubernetes node that really runs containers, on this machine and
// apart from it, for tests and for a demo.
//
// Real are kubelet, containerd, runc, kube-proxy (with nftables) and the CNI plugin
// ptp, beside the control plane of package testcluster. Missing are a registry (images
// are brought into containerd from archives), a storage driver, and what enforces a
// NetworkPolicy. Names are answered where Options ask for it, by CoreDNS, which CoreDNS
// builds from the module in the folder beside this one. Pods reach the API server.
//
// A Suite starts its own program a second time in mount, process, network, host name
// and IPC namespaces of its own, where World.Start makes the node. What it promises:
//
//   - when the second process ends, however it ends, the kernel ends every container,
//     mount and interface with it; the first process then removes what is left, the
//     control groups, and makes sure that nothing is;
//   - nothing is installed on the machine, and one setting of its kernel is changed,
//     where control groups are of version 2: the root hands all its controllers on.
//     What it did not hand on before is taken back, unless the first process is killed
//     with SIGKILL;
//   - two runs of one suite wait for each other, and say so; those of two suites share
//     nothing that one of them changes;
//   - a program may hold a node for as long as it likes: ended by SIGTERM, it ends the node
//     within Suite.Grace. Suite.Beside is where it lets this machine reach the node;
//   - a machine that can't is told of with the reason.
//
// Containers are in memory, or with Suite.OnDisk in the user's cache, for as long as the
// node runs: images are imported anew each time.
//
// It needs root, apt and dpkg, and Linux with overlay file systems, veth interfaces and
// nftables.
//
// Imports: testcluster, package debian for the node's programs, client-go and
// go-containerregistry.
package node
