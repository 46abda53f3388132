package engines

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
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

// once makes a folder of the cache with fill, unless it is there.
func once(ctx context.Context, name, recipe string, fill func(folder string) error) (string, error) {
	base, err := Cache()
	if err != nil {
		return "", err
	}
	return node.Once(ctx, os.Stderr, base, name, recipe, fill)
}

const operatorModule = "github.com/kubeflow/spark-operator/v2"

// operatorProgram builds the Spark operator.
func operatorProgram(ctx context.Context, progress io.Writer) (string, error) {
	base, err := Cache()
	if err != nil {
		return "", err
	}
	return node.Program(ctx, progress, base, "sparkoperator", "spark-operator", operatorModule+"/cmd/operator")
}

// operatorChart is the folder of the operator's own chart.
func operatorChart(ctx context.Context) (string, error) {
	source, err := node.ModuleFolder(ctx, "sparkoperator")
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
