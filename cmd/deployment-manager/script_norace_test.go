//go:build !race

package main

// endHookAtOnce has nothing to do: only the race detector sleeps at the end.
func endHookAtOnce() {}
