package testcluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// module is this package's module; its folder holds the folder components.
const module = "github.com/pndaproject/deployment-manager/deploy/testcluster"

// sources are the files that define a build, in the folder components.
var sources = []string{"go.mod", "go.sum", "main.go", "build.sh"}

// Components returns the folder that holds the programs etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kubelet, kube-proxy, kubectl and kwok,
// which components/build.sh makes. It builds them
// when the user's cache does not have them yet, which takes minutes: progress
// hears how it goes; nil means silent. Of several callers at once, in whatever
// process, one builds and the others wait.
func Components(ctx context.Context, progress io.Writer) (string, error) {
	if progress == nil {
		progress = io.Discard
	}
	source, key, err := componentsKey(ctx)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "deployment-manager-testcluster")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	built := filepath.Join(cache, key)
	unlock, err := Lock(ctx, built+".lock", func() {
		fmt.Fprintln(progress, "waiting for Kubernetes' components, which another process builds")
	})
	if err != nil {
		return "", fmt.Errorf("waiting for Kubernetes' components: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(built); err == nil {
		return built, nil
	}
	if err := removeUnfinished(built); err != nil {
		return "", err
	}
	aside, err := os.MkdirTemp(cache, key+unfinished)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(aside)
	if err := build(ctx, source, aside, progress); err != nil {
		return "", err
	}
	if err := os.Chmod(aside, 0o755); err != nil {
		return "", err
	}
	return built, os.Rename(aside, built)
}

// unfinished follows the name of a build in that of the folder it is made in.
const unfinished = ".building-"

// removeUnfinished removes what builds left that were killed. The caller holds
// the lock, so none goes on.
func removeUnfinished(built string) error {
	left, err := filepath.Glob(built + unfinished + "*")
	for _, folder := range left {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return err
}

// componentsKey finds the components' sources and hashes what defines a build.
func componentsKey(ctx context.Context) (source, key string, err error) {
	// The go command knows where the module is, also in a trimmed binary and
	// in a module that replaces this one by its folder.
	folder, err := goCommand(ctx, "", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", "", err
	}
	source = filepath.Join(folder, "components")
	compiler, err := goCommand(ctx, source, "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return "", "", err
	}
	hash := sha256.New()
	fmt.Fprintln(hash, compiler)
	for _, name := range sources {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", "", err
		}
		fmt.Fprintln(hash, name, len(content))
		hash.Write(content)
	}
	return source, fmt.Sprintf("%x", hash.Sum(nil))[:16], nil
}

func goCommand(ctx context.Context, folder string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = folder
	var fault bytes.Buffer
	command.Stderr = &fault
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(arguments, " "), err, fault.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// Lock holds the file alone for this caller until the returned function is called. The
// kernel gives it back when the process ends, however it ends. waits is called once when
// another one holds it.
func Lock(ctx context.Context, name string, waits func()) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; said = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if !said {
			waits()
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// build runs build.sh and says every half minute that it still does.
func build(ctx context.Context, source, out string, progress io.Writer) error {
	start := time.Now()
	elapsed := func() time.Duration { return time.Since(start).Round(time.Second) }
	fmt.Fprintln(progress, "building Kubernetes' components, once; about 7 minutes")
	said := &output{}
	command := exec.CommandContext(ctx, "sh", filepath.Join(source, "build.sh"), out)
	command.Stdout, command.Stderr = said, said
	// The compilers are ended too, not only the shell.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("building Kubernetes' components: %w after %s\n%s", err, elapsed(), said.tail(20))
			}
			fmt.Fprintf(progress, "built Kubernetes' components in %s\n", elapsed())
			return nil
		case <-tick.C:
			fmt.Fprintf(progress, "building Kubernetes' components, %s so far\n", elapsed())
		}
	}
}

// output keeps what a program printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) tail(lines int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return lastLines(o.text.String(), lines)
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
