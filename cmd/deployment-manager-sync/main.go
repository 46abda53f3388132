// The command deployment-manager-sync brings the notebooks that are deployed for a
// user into the user's folder. JupyterHub's start hook runs it by way of sync.sh.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync"
)

func main() {
	if len(os.Args) < 2 {
		sync.Run(sync.Config{Getenv: os.Getenv, Stdout: os.Stdout})
		return
	}
	switch os.Args[1] {
	case "--version", "version":
		version := "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			version = info.Main.Version
		}
		fmt.Println("deployment-manager-sync", version)
	case "--help", "-h", "help":
		fmt.Print(sync.Help)
	default:
		fmt.Fprintf(os.Stderr, "deployment-manager-sync: unknown argument %q; it takes --help and --version\n", os.Args[1])
		os.Exit(2)
	}
}
