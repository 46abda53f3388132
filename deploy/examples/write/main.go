package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pndaproject/deployment-manager/deploy/examples"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: write FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "examples:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, id := range examples.Names() {
		data, err := examples.Archive(id)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, examples.File(id))
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
		fmt.Println(file)
	}
	return nil
}
