package main

import (
	"os"

	"github.com/pndaproject/deployment-manager/hooks/hook"
)

func main() { os.Exit(hook.Program(os.Stdin, os.Stdout, os.Stderr, os.Getenv)) }
