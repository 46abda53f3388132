// Package kube holds the tests of plugins/kube on a control plane of its own: what it
// promises for the case that requests fail at any point, that others write beside it,
// and that the cluster refuses. It may import the test cluster and what it tests.
package kube
