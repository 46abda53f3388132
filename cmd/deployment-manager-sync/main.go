package main

import (
	"os"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync"
)

func main() {
	os.Exit(sync.Main(os.Args[1:], sync.Config{Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr}))
}
