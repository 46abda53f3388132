package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
)

// withEngine runs Debian's buildah, which builds Dockerfiles without a daemon, in
// the folder $1 as its whole system. $1/work is the folder $2, and the go
// command's two caches, $3 and $4, spare the build what this machine has.
const withEngine = `set -eu
system=$1 work=$2 modules=$3 objects=$4; shift 4
mount --bind "$system" "$system"
cd "$system"
mkdir -p proc dev sys tmp var/tmp run old work modules objects
mount --rbind /dev dev
mount -t proc proc proc
mount --rbind /sys sys
mount --bind "$work" work
mount --bind "$modules" modules
mount --bind "$objects" objects
pivot_root . old
exec /usr/bin/buildah --root /work/storage --runroot /work/run --storage-driver "${DRIVER:-overlay}" "$@"`

// golang is the image from which the Dockerfile starts: Debian with apt and git,
// and this machine's Go.
const golang = `FROM scratch
COPY . /
ENV PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin GOTOOLCHAIN=local
`

// engine is a buildah with folders of its own.
type engine struct{ system, work, modules, objects string }

func newEngine(t *testing.T) *engine {
	t.Helper()
	if os.Getenv("DM_TEST_DOCKERFILE") == "" {
		t.Skip("skipped: building the Dockerfile is part of make test-image; DM_TEST_DOCKERFILE=1 asks for it")
	}
	needNamespaces(t)
	root := fetched(t, debian.Options{Packages: []string{"buildah"}, Progress: os.Stderr})
	e := &engine{system: filepath.Join(t.TempDir(), "system"), work: t.TempDir(), modules: goEnv(t, "GOMODCACHE"), objects: goEnv(t, "GOCACHE")}
	must(t, "cp", "-a", root, e.system)
	for name, content := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/containers/registries.conf": "",
		"etc/containers/policy.json": `{"default": [{"type": "insecureAcceptAnything"}]}`,
	} {
		put(t, filepath.Join(e.system, name), content)
	}
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		must(t, "cp", "-L", name, e.system+name)
	}
	return e
}

// fetched is a folder with packages of Debian.
func fetched(t *testing.T, o debian.Options) string {
	t.Helper()
	root, err := debian.Root(t.Context(), o)
	if errors.Is(err, debian.ErrNoApt) {
		skip(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(must(t, "go", "env", name))
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v: %s%s", name, args, err, &out, &said)
	}
	return out.String()
}

func (e *engine) run(t *testing.T, args ...string) string {
	t.Helper()
	before := []string{"--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", withEngine, "sh", e.system, e.work, e.modules, e.objects}
	return must(t, "unshare", append(before, args...)...)
}

// start makes the image golang.
func (e *engine) start(t *testing.T) {
	t.Helper()
	root := fetched(t, debian.Options{
		Packages: []string{"apt", "base-files", "ca-certificates", "coreutils", "dash", "debian-archive-keyring", "dpkg", "findutils", "git", "grep", "sed", "tar"},
		Without:  []string{"adduser", "debconf", "git-man", "liberror-perl", "openssl", "perl"},
		Progress: os.Stderr,
	})
	base := filepath.Join(e.work, "base")
	must(t, "cp", "-a", root, base)
	for _, folder := range []string{"tmp", "root", "var/tmp", "usr/local", "etc/apt"} {
		if err := os.MkdirAll(filepath.Join(base, folder), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	must(t, "cp", "-a", goEnv(t, "GOROOT"), filepath.Join(base, "usr/local/go"))
	must(t, "cp", "-aT", "/etc/apt", filepath.Join(base, "etc/apt"))
	must(t, "cp", "-L", "/etc/ssl/certs/ca-certificates.crt", filepath.Join(base, "etc/ssl/certs/ca-certificates.crt"))
	put(t, filepath.Join(base, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")
	put(t, filepath.Join(base, "etc/group"), "root:x:0:\n")
	put(t, filepath.Join(base, "var/lib/dpkg/status"), "")
	put(t, filepath.Join(e.work, "golang"), golang)
	e.run(t, "bud", "--isolation", "chroot", "-f", "/work/golang", "-t", "docker.io/library/golang:1.26-bookworm", "/work/base")
}

// TestDockerfileBuilds builds deploy/Dockerfile as docker would and compares the
// image with the one that this program writes.
func TestDockerfileBuilds(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	clone := cloned(t)
	// The build asks Debian for its newest lists, so must we.
	dir := t.TempDir()
	archive := execute(t, order{checkout: clone, out: filepath.Join(e.work, "image.tar"), layers: dir, tag: "test", refresh: true, progress: os.Stderr})
	want := readImage(t, archive)
	// The archive is good in both formats, with the same name.
	for _, format := range []string{"oci-archive", "docker-archive"} {
		id := strings.TrimSpace(e.run(t, "pull", "-q", format+":/work/image.tar"))
		if got, want := strings.TrimSpace(e.run(t, "images", "-q", "--no-trunc", "docker.io/pnda/deployment-manager:test")), "sha256:"+want.manifest.Config.Digest.Hex; got != want {
			t.Errorf("from %s came the image %s with the name of %s, want %s", format, id, got, want)
		}
		e.run(t, "rmi", id)
	}
	e.start(t)
	must(t, "cp", "-a", clone, filepath.Join(e.work, "source"))
	labels := want.config.Config.Labels
	t.Log(e.run(t, "bud", "--isolation", "chroot", "--pull-never", "--volume", "/modules:/root/go/pkg/mod", "--volume", "/objects:/root/.cache/go-build",
		"--build-arg", "VERSION="+labels["org.opencontainers.image.version"], "--build-arg", "REVISION="+labels["org.opencontainers.image.revision"],
		"-f", "/work/source/deploy/Dockerfile", "-t", "built", "/work/source"))
	e.run(t, "push", "-q", "built", "oci-archive:/work/built.tar")
	compare(t, readImage(t, filepath.Join(e.work, "built.tar")), want)
}

func compare(t *testing.T, got, want *contained) {
	t.Helper()
	delete(got.config.Config.Labels, "io.buildah.version")
	if !reflect.DeepEqual(got.config.Config, want.config.Config) {
		t.Errorf("it is run as %+v, want %+v", got.config.Config, want.config.Config)
	}
	for name, w := range want.tree {
		g := got.tree[name]
		if g == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if a, b := g.header, w.header; a.Typeflag != b.Typeflag || a.Mode&0o7777 != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Linkname != b.Linkname {
			t.Errorf("%s is %c %o %d:%d %s, want %c %o %d:%d %s", name, a.Typeflag, a.Mode, a.Uid, a.Gid, a.Linkname, b.Typeflag, b.Mode, b.Uid, b.Gid, b.Linkname)
		}
		if !bytes.Equal(g.content, w.content) {
			t.Errorf("%s has other content", name)
		}
	}
	for name := range got.tree {
		if want.tree[name] == nil {
			t.Errorf("%s is too much", name)
		}
	}
}
