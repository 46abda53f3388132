// Package testcluster starts a real Kubernetes control plane on this machine
// for tests, and ends it.
package testcluster
