// Package examples holds the sources of the packages that the demo uploads and
// that people may copy: notebooks with variables, a data file and properties.
// Two versions of one package show what a change of version looks like. The
// package of PNDA's walk-through has notebooks of our own that run with pyspark
// on one machine. A job for Spark needs a cluster.
//
// Imports: dm and the standard library.
package examples
