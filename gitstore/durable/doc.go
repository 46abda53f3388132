// Package durable writes small files so that they survive a power cut.
//
// It owns no place on the disk. It promises that a file is there whole or not at
// all, and that what Sync returned nil for is on the disk. It may import the root
// package and the standard library.
package durable
