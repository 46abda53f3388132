package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// userPackages stand for a notebook's image: what the start hook may use.
var userPackages = []string{"dash", "coreutils", "git", "libc-bin", "base-files"}

// withoutPackages are what git does not need to clone and fetch.
var withoutPackages = []string{"perl", "git-man", "liberror-perl"}

// imageName is the server's image, as the chart names it and containerd knows it.
const imageName = "docker.io/pnda/deployment-manager"

// prepare brings everything that comes from a network or a compiler.
func prepare(ctx context.Context, w *node.World) (any, error) {
	s := settings{World: *w}
	var err error
	if s.User, err = debian.Root(ctx, debian.Options{Packages: userPackages, Without: withoutPackages, Progress: os.Stderr}); err != nil {
		return nil, err
	}
	if s.Jupyter, s.NoJupyter, err = jupyter(ctx, s); err != nil {
		return nil, err
	}
	if s.Image, err = w.ServerImage(ctx); err != nil {
		return nil, err
	}
	if s.Program, err = buildProgram(ctx, s); err != nil {
		return nil, err
	}
	w.Show = append(w.Show, s.User, filepath.Dir(s.Image))
	s.Token, s.Tokens, err = makeToken(ctx, s)
	return s, err
}

// buildProgram builds for a user's image what make build does for anybody.
func buildProgram(ctx context.Context, s settings) (string, error) {
	file := filepath.Join(filepath.Dir(s.Image), "deployment-manager-sync")
	command := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", file, "./cmd/deployment-manager-sync")
	command.Dir, command.Env = s.Checkout, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program for users' pods: %w\n%s", err, out)
	}
	return file, nil
}

// jupyter brings the environment that package jupyterhub uses. It exits with 3
// where no fitting Python is.
func jupyter(ctx context.Context, s settings) (folder, why string, err error) {
	command := exec.CommandContext(ctx, filepath.Join(s.Checkout, "deploy/testcluster/jupyterhub/environment/build.sh"))
	var said bytes.Buffer
	command.Stderr = io.MultiWriter(&said, os.Stderr)
	out, err := command.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
		return "", strings.TrimSpace(said.String()), nil
	}
	if err != nil {
		return "", "", fmt.Errorf("bringing JupyterHub: %w", err)
	}
	return strings.TrimSpace(string(out)), "", nil
}

// makeToken makes the user's token where an operator makes it, beside the chart.
func makeToken(ctx context.Context, s settings) (token, file string, err error) {
	path := filepath.Join(s.Logs(), "tokens")
	defer os.Remove(path)
	command := exec.CommandContext(ctx, "go", "run", "./cmd/deployment-manager", "token", "create", "--file", path, "--user", user, "--expires", "1d")
	command.Dir = s.Checkout
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		return "", "", fmt.Errorf("making a token: %w\n%s", err, said.String())
	}
	content, err := os.ReadFile(path)
	return strings.TrimSpace(string(out)), string(content), err
}
