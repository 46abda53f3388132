//go:build race

package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/pndaproject/deployment-manager/hooks/hook"
)

// endHookAtOnce starts a hook program again with an option that git's closed
// environment keeps from it: the race detector sleeps a second before it ends,
// which makes a second for each push.
func endHookAtOnce() {
	const variable = "GORACE"
	if !hook.Called(os.Args[0]) || os.Getenv(variable) != "" {
		return
	}
	program, err := os.Executable()
	if err == nil {
		err = syscall.Exec(program, os.Args, append(os.Environ(), variable+"=atexit_sleep_ms=0"))
	}
	fmt.Fprintln(os.Stderr, err)
}
