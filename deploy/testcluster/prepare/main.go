// Command prepare builds Kubernetes' components into the user's cache when they
// are not there, says how it goes, and prints their folder. The tests would
// build them too, but "go test" shows nothing before a package has ended.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	folder, err := testcluster.Components(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
	fmt.Println(folder)
}
