package engines

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// Cache is the folder of what is made once.
func Cache() (string, error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder = filepath.Join(folder, "deployment-manager-engines")
	return folder, os.MkdirAll(folder, 0o755)
}

// once makes a folder of the cache with fill, unless it is there. Of several callers
// at once, in whatever process, one makes it.
func once(ctx context.Context, name, recipe string, fill func(folder string) error) (string, error) {
	base, err := Cache()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(recipe))
	made := filepath.Join(base, fmt.Sprintf("%s-%x", name, sum[:8]))
	unlock, err := testcluster.Lock(ctx, filepath.Join(base, name+".lock"), func() {})
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(made); err == nil {
		return made, nil
	}
	old, err := filepath.Glob(filepath.Join(base, name+"-*")) // of other recipes, or not finished
	if err != nil {
		return "", err
	}
	for _, folder := range old {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	aside := made + "-unfinished"
	if err := errors.Join(err, os.Mkdir(aside, 0o755)); err != nil {
		return "", err
	}
	if err := fill(aside); err != nil {
		return "", fmt.Errorf("making %s: %w", name, err)
	}
	return made, os.Rename(aside, made)
}

// program builds a package of a module of its own, that is a folder beside this one.
func program(ctx context.Context, progress io.Writer, module, name, target string) (string, error) {
	source, err := moduleFolder(ctx, module)
	if err != nil {
		return "", err
	}
	recipe := target
	for _, file := range []string{"go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(source, file))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		recipe += string(content)
	}
	folder, err := once(ctx, name, recipe, func(folder string) error {
		fmt.Fprintf(progress, "building %s, once; a minute or two\n", name)
		command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(folder, name), target)
		command.Dir, command.Env = source, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
		return nil
	})
	return filepath.Join(folder, name), err
}

// moduleFolder finds a folder beside this one.
func moduleFolder(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/pndaproject/deployment-manager/deploy/testcluster").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), name), nil
}

// CoreDNS builds the program that answers pods' questions for names.
func CoreDNS(ctx context.Context, progress io.Writer) (string, error) {
	return program(ctx, progress, "coredns", "coredns", ".")
}

const operatorModule = "github.com/kubeflow/spark-operator/v2"

// operatorProgram builds the Spark operator.
func operatorProgram(ctx context.Context, progress io.Writer) (string, error) {
	return program(ctx, progress, "sparkoperator", "spark-operator", operatorModule+"/cmd/operator")
}

// operatorChart is the folder of the operator's own chart.
func operatorChart(ctx context.Context) (string, error) {
	source, err := moduleFolder(ctx, "sparkoperator")
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", operatorModule)
	command.Dir = source
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("finding the operator's module: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "charts", "spark-operator-chart"), nil
}
