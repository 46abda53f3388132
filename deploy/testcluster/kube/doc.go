// Package kube holds the tests of plugins/kube, and of the plugins that use it, on
// control planes of their own: what they promise for the case that requests fail at any
// point, that others write beside them, and that the cluster refuses. It may import the
// test cluster and what it tests.
package kube
