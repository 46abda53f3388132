package node

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

// cache is the folder of what is made for nodes and kept.
func cache() (string, error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder = filepath.Join(folder, "deployment-manager-node")
	return folder, os.MkdirAll(folder, 0o755)
}

// CoreDNS builds the program that answers pods' questions for names, for Options.DNS.
func CoreDNS(ctx context.Context, progress io.Writer) (string, error) {
	folder, err := cache()
	if err != nil {
		return "", err
	}
	return Program(ctx, progress, folder, "coredns", "coredns", ".")
}

// Program builds a package of a module of its own, that is a folder beside this one,
// once, into a folder of the cache.
func Program(ctx context.Context, progress io.Writer, cache, module, name, target string) (string, error) {
	source, err := ModuleFolder(ctx, module)
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
	folder, err := Once(ctx, progress, cache, name, recipe, func(folder string) error {
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

// ModuleFolder finds a folder beside this one.
func ModuleFolder(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/pndaproject/deployment-manager/deploy/testcluster").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), name), nil
}

// Once makes a folder of the cache with fill, unless it is there as the recipe says. Of
// several callers at once, in whatever process, one makes it.
func Once(ctx context.Context, progress io.Writer, cache, name, recipe string, fill func(folder string) error) (string, error) {
	sum := sha256.Sum256([]byte(recipe))
	made := filepath.Join(cache, fmt.Sprintf("%s-%x", name, sum[:8]))
	unlock, err := testcluster.Lock(ctx, filepath.Join(cache, name+".lock"), func() {
		fmt.Fprintf(progress, "waiting for %s, which another process makes\n", name)
	})
	if err != nil {
		return "", fmt.Errorf("waiting for %s: %w", name, err)
	}
	defer unlock()
	if _, err := os.Stat(made); err == nil {
		return made, nil
	}
	old, err := filepath.Glob(filepath.Join(cache, name+"-*")) // of other recipes, or not finished
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
