package engines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// Data is what is brought before a node starts.
type Data struct {
	Images   string // the archive of the engines' images
	Server   string // that of the server's image
	DNS      string // the program that answers for names
	Operator string // the folder of the Spark operator's chart
	Examples string // the folder of the example packages' archives
	Java     string // the folder with the jar of the job in Java
}

// Prepare brings everything, and shows it to the node.
func Prepare(ctx context.Context, w *node.World) (any, error) {
	var d Data
	var err error
	for _, step := range []func() error{
		func() error { d.DNS, err = node.CoreDNS(ctx, os.Stderr); return err },
		func() error { d.Images, err = Images(ctx, os.Stderr); return err },
		func() error { d.Operator, err = operatorChart(ctx); return err },
		func() error { d.Server, err = w.ServerImage(ctx); return err },
		func() error { d.Examples, err = writeExamples(ctx, w.Checkout); return err },
		func() error { d.Java, err = javaJob(ctx, w.Checkout, os.Stderr); return err },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	w.Show = append(w.Show, filepath.Dir(d.DNS), filepath.Dir(d.Images), d.Operator, filepath.Dir(d.Server), d.Examples, d.Java)
	return d, nil
}

// writeExamples does what make examples does.
func writeExamples(ctx context.Context, checkout string) (string, error) {
	base, err := Cache()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(base, "examples")
	command := exec.CommandContext(ctx, "go", "run", "./deploy/examples/write", folder)
	command.Dir = checkout
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("writing the example packages: %w\n%s", err, out)
	}
	return folder, nil
}

// javaJob compiles the job in testdata with the compiler that Debian has.
func javaJob(ctx context.Context, checkout string, progress io.Writer) (string, error) {
	source := filepath.Join(checkout, "deploy/testcluster/engines/testdata/Count.java")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	spark, err := Spark(ctx, progress)
	if err != nil {
		return "", err
	}
	return once(ctx, "java", string(text), func(folder string) error {
		root, err := debian.Root(ctx, debian.Options{
			Packages: []string{"default-jdk-headless"}, Without: withoutPackages, Progress: progress,
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(progress, "compiling a job in Java, once")
		java, err := javaHome(root)
		if err != nil {
			return err
		}
		classes := filepath.Join(folder, "classes")
		run := func(program string, arguments ...string) error {
			command := exec.CommandContext(ctx, filepath.Join(root, java, "bin", program), arguments...)
			if out, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", program, err, out)
			}
			return nil
		}
		return errors.Join(
			run("javac", "-cp", filepath.Join(spark, "deps/jars/*"), "-d", classes, source),
			run("jar", "--create", "--file", filepath.Join(folder, "count.jar"), "-C", classes, "."),
		)
	})
}

// Suite is the name of what runs on a node with engines: the tests and the demo wait
// for each other.
const Suite = "engines"

// Another says how the other is ended that is waited for.
const Another = "; if it is the demo, make demo-kubernetes-down ends it"
