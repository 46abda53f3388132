//go:build race

package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/pndaproject/deployment-manager/hooks"
)

// endHookAtOnce starts a hook program again with an option that git's closed
// environment keeps from it: the race detector sleeps a second before it ends,
// which makes three seconds for each push.
func endHookAtOnce() {
	const variable = "GORACE"
	if _, hook := hooks.ProgramName(os.Args[0]); !hook || os.Getenv(variable) != "" {
		return
	}
	program, err := os.Executable()
	if err == nil {
		err = syscall.Exec(program, os.Args, append(os.Environ(), variable+"=atexit_sleep_ms=0"))
	}
	fmt.Fprintln(os.Stderr, err)
}
