// Package chart tests the Helm chart in deploy/helm on a real control plane,
// and gives other tests the means to install it.
//
// The API server judges what the chart makes: strictly by its schema, by the
// Pod Security level "restricted", and by the rights of a user who administers
// one namespace and nothing else. The controllers and the scheduler act on it,
// so that the roll-out of the StatefulSet, the binding of the claim, the
// endpoints of the Services and the disruption budget are real.
//
// No container runs. kwok says that a pod is ready as soon as it is scheduled,
// so that "ready" in these tests means that Kubernetes accepted everything, and
// nothing about the server, its probes or its configuration; deploy/testcluster/e2e
// runs the image. The storage driver is testcluster.Provision, and nobody
// enforces the NetworkPolicy.
//
// Imports: Helm's library, client-go, and testcluster; nothing else of the
// project.
package chart
