package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// webServer is where the programs of PNDA's git server are: nginx, fcgiwrap and
// git's http-backend.
type webServer struct{ nginx, fcgiwrap, libraries, backend string }

// debianPackages hold nginx and fcgiwrap and what a small system lacks of
// their libraries.
var debianPackages = []string{"nginx", "fcgiwrap", "libfcgi0ldbl"}

// findWebServer looks in PATH, where Debian puts servers, and below root,
// where an earlier run unpacked them.
func findWebServer(root string) (w webServer, err error) {
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return w, err
	}
	w.backend = filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend")
	if _, err := os.Stat(w.backend); err != nil {
		return w, err
	}
	var missing [2]error
	w.nginx, missing[0] = findProgram(root, "nginx")
	w.fcgiwrap, missing[1] = findProgram(root, "fcgiwrap")
	if libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*/libfcgi.so.0")); err == nil && len(libraries) > 0 {
		w.libraries = filepath.Dir(libraries[0])
	}
	return w, errors.Join(missing[:]...)
}

func findProgram(root, name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, path := range []string{filepath.Join("/usr/sbin", name), filepath.Join(root, "usr/sbin", name)} {
		if path, err := exec.LookPath(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

// cacheFolder keeps what was fetched for the next run.
func cacheFolder() (string, error) {
	folder, err := os.UserCacheDir()
	return filepath.Join(folder, "deployment-manager-bench"), err
}

// findOrFetch makes nginx and fcgiwrap available without installing them: they
// are found, or come from Debian's archive into the cache.
func (b *bench) findOrFetch(ctx context.Context) error {
	cache, err := cacheFolder()
	if err != nil {
		return err
	}
	root := filepath.Join(cache, "debian")
	if _, err := findWebServer(root); err == nil || !b.sizes.download {
		return err
	}
	return b.fetchWebServer(ctx, cache, root)
}

// fetchWebServer downloads and unpacks beside root, and then renames.
func (b *bench) fetchWebServer(ctx context.Context, cache, root string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	b.progress("  fetches %s from Debian's archive", strings.Join(debianPackages, ", "))
	if err := download(ctx, made); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(made, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := command(ctx, made, "dpkg-deb", "-x", file, filepath.Join(made, "root")); err != nil {
			return err
		}
	}
	if _, err := findWebServer(filepath.Join(made, "root")); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	return os.Rename(filepath.Join(made, "root"), root)
}

// download puts the packages into folder. Where the machine has no lists of
// Debian's archive, which images of containers leave out, they are fetched
// beside, without touching the machine's own.
func download(ctx context.Context, folder string) error {
	want := append([]string{"download"}, debianPackages...)
	_, first := command(ctx, folder, "apt-get", want...)
	if first == nil {
		return nil
	}
	lists := filepath.Join(folder, "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return err
	}
	own := []string{"-o", "Dir::State::Lists=" + lists, "-o", "Dir::Cache=" + folder, "-o", "APT::Sandbox::User="}
	if _, err := command(ctx, folder, "apt-get", append(own, "update")...); err != nil {
		return errors.Join(first, err)
	}
	_, err := command(ctx, folder, "apt-get", append(own, want...)...)
	return err
}
