// Package testcluster starts a real Kubernetes control plane on this machine
// for tests, and ends it.
//
// Components builds the programs once, from the module in the folder
// components, into the user's cache. Start runs etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler as processes of their own, with
// certificates made for that run, on free ports of loopback or in a network
// namespace. What it promises:
//
//   - a started cluster answers, has its default service account and, with
//     Kwok, a node that is ready;
//   - a program that dies while the cluster starts is named in the error, with
//     the last lines of its log;
//   - Kill ends one program as a crash does, and what it returns starts it again;
//   - Stop ends in bounded time and leaves no process. Should the test itself
//     be killed, the kernel ends the programs with it.
//
// The data are thrown away: etcd does not sync, and Stop kills what Start
// started. Two things stand in for what a cluster has around its control plane:
// kwok for the kubelet and the containers (pods become ready and never run;
// a real kubelet can be started beside the cluster instead, with Run), and
// Provision for the storage driver.
//
// Imports: the standard library, client-go and golang.org/x/sys; nothing of the
// project.
package testcluster
