package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
)

// skip tells why a test cannot run here, which is a failure where all must. The
// line is seen without -v too.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	fmt.Printf("skipped: %s: %s\n", t.Name(), reason)
	t.SkipNow()
}

// makeImage makes the image into a folder of its own, with every layer anew.
func makeImage(t *testing.T, checkout string) (archive string) {
	t.Helper()
	dir := t.TempDir()
	return execute(t, order{checkout: checkout, out: filepath.Join(dir, "image.tar"), layers: filepath.Join(dir, "layers"), tag: "test", progress: os.Stderr})
}

func execute(t *testing.T, o order) (archive string) {
	t.Helper()
	_, err := o.execute(t.Context())
	if errors.Is(err, debian.ErrNoApt) {
		skip(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return o.out
}

// TestImage makes the image and looks at it from all sides.
func TestImage(t *testing.T) {
	t.Parallel()
	archive := makeImage(t, "../..")
	i := readImage(t, archive)
	for name, test := range map[string]func(*testing.T, *contained){
		"layout": testLayout, "configuration": testConfiguration, "rights": testRights, "people": testPeople,
		"certificates": testCertificates, "packages": testPackages, "libraries": testLibraries, "interpreters": testInterpreters, "programs for pods": testPodPrograms, "runs": testRuns,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, i)
		})
	}
	t.Run("values", func(t *testing.T) {
		t.Parallel()
		testValues(t, i, strings.TrimSuffix(archive, ".tar")+".values.yaml")
	})
}

// TestSameBytesAgain makes the image of one commit in two places.
func TestSameBytesAgain(t *testing.T) {
	t.Parallel()
	source := cloned(t)
	// Another test brings newer lists of Debian's packages, once. An image before
	// and one after that may have other packages, as their layers' names tell.
	for range 3 {
		first, of := imageOf(t, source)
		second, other := imageOf(t, cloneOf(t, source))
		if of != other {
			t.Logf("Debian's packages changed meanwhile: %s, then %s", of, other)
			continue
		}
		if !bytes.Equal(first, second) {
			t.Error("a second run made other bytes")
		}
		return
	}
	t.Error("Debian's packages changed each time")
}

// imageOf is the image of the clone, and the name of its Debian layer, which says
// of what packages that was made.
func imageOf(t *testing.T, clone string) (image []byte, layer string) {
	t.Helper()
	archive := makeImage(t, clone)
	layers, err := filepath.Glob(filepath.Join(filepath.Dir(archive), "layers/*.tar.gz"))
	if err != nil || len(layers) != 1 {
		t.Fatalf("the layers of Debian are %q, %v; want one", layers, err)
	}
	if image, err = os.ReadFile(archive); err != nil {
		t.Fatal(err)
	}
	return image, filepath.Base(layers[0])
}

// cloned is a clone of the commit that is checked out, which nobody changes.
func cloned(t *testing.T) (folder string) {
	t.Helper()
	if err := exec.Command("git", "-C", "../..", "rev-parse", "HEAD").Run(); err != nil {
		skip(t, "the source is not in git, or belongs to another user")
	}
	return cloneOf(t, "../..")
}

func cloneOf(t *testing.T, source string) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command("git", "clone", "-q", source, folder).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v: %s", err, out)
	}
	return folder
}

func testLayout(t *testing.T, i *contained) {
	for name, content := range i.files {
		if want, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != want {
				t.Errorf("%s has the hash %x", name, got)
			}
		}
	}
	if got := string(i.files["oci-layout"]); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %s", got)
	}
	if got := i.index.Manifests[0].Annotations["io.containerd.image.name"]; got != "docker.io/pnda/deployment-manager:test" {
		t.Errorf("the image's name is %q", got)
	}
	var docker []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(i.files["manifest.json"], &docker); err != nil || len(docker) != 1 {
		t.Fatalf("docker's list: %s, %v", i.files["manifest.json"], err)
	}
	if want := "blobs/sha256/" + i.manifest.Config.Digest.Hex; docker[0].Config != want || docker[0].RepoTags[0] != "docker.io/pnda/deployment-manager:test" {
		t.Errorf("docker's list is %+v, want the configuration %s", docker[0], want)
	}
	for n, names := range i.names {
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("the files of layer %d are not in order: %q", n, names)
		}
	}
	for n, l := range i.manifest.Layers {
		if want := "blobs/sha256/" + l.Digest.Hex; docker[0].Layers[n] != want {
			t.Errorf("docker's layer %d is %s, want %s", n, docker[0].Layers[n], want)
		}
	}
}

func testConfiguration(t *testing.T, i *contained) {
	c := i.config
	version, commit := c.Config.Labels["org.opencontainers.image.version"], c.Config.Labels["org.opencontainers.image.revision"]
	if want := runConfig(build{version: version, commit: commit}); !reflect.DeepEqual(c.Config, want) || version == "" {
		t.Errorf("it is run as %+v, want %+v", c.Config, want)
	}
	if c.OS != "linux" || c.Architecture != runtime.GOARCH {
		t.Errorf("it is for %s/%s", c.OS, c.Architecture)
	}
	if len(c.RootFS.DiffIDs) != 2 || len(c.History) != 2 {
		t.Fatalf("%d layers and %d steps, want 2", len(c.RootFS.DiffIDs), len(c.History))
	}
	for n, want := range i.diffs {
		if got := c.RootFS.DiffIDs[n].Hex; got != want {
			t.Errorf("layer %d unpacks to %s, the configuration says %s", n, want, got)
		}
	}
}

// testRights: nothing gives its caller more rights, and only what must be can be
// written by everyone.
func testRights(t *testing.T, i *contained) {
	for name, n := range i.tree {
		h := n.header
		if h.Mode&0o6000 != 0 {
			t.Errorf("%s is setuid or setgid: %o", name, h.Mode)
		}
		if h.Typeflag != '2' && h.Mode&0o002 != 0 && h.Mode&0o1000 == 0 {
			t.Errorf("everyone may write %s: %o", name, h.Mode)
		}
		owner := 0
		if name == "data" {
			owner = userID
		}
		if h.Uid != owner || h.Gid != owner && !strings.HasPrefix(name, "var/") {
			t.Errorf("%s belongs to %d:%d, want %d", name, h.Uid, h.Gid, owner)
		}
	}
	if n := i.tree["data"]; n == nil || n.header.Mode != 0o750 {
		t.Errorf("the data folder is %+v, want mode 0750", n)
	}
}

func testPeople(t *testing.T, i *contained) {
	for name, want := range map[string]string{
		"etc/passwd": "deployment-manager:x:10001:10001::/nonexistent:/bin/sh\n", "etc/group": "deployment-manager:x:10001:\n",
	} {
		if got := string(i.tree.get(t, name)); !strings.Contains(got, want) {
			t.Errorf("%s is\n%swant a line %s", name, got, want)
		}
	}
}

func testCertificates(t *testing.T, i *contained) {
	rest, count := i.tree.get(t, "etc/ssl/certs/ca-certificates.crt"), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Errorf("certificate %d: %v", count, err)
		}
		count++
	}
	if len(bytes.TrimSpace(rest)) > 0 || count < 100 {
		t.Errorf("%d certificates and then %.60q", count, rest)
	}
}

// testPackages reads what a scanner reads.
func testPackages(t *testing.T, i *contained) {
	versions := map[string]string{}
	for record := range strings.SplitSeq(string(i.tree.get(t, "var/lib/dpkg/status")), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(record) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				fields[key] = value
			}
		}
		if name := fields["Package"]; name != "" && fields["Status"] == "install ok installed" && fields["Architecture"] != "" {
			versions[name] = fields["Version"]
		}
	}
	for _, name := range append(packages(), "libc6", "libcurl3-gnutls", "zlib1g") {
		if versions[name] == "" {
			t.Errorf("the package %s is not told", name)
		}
	}
	for _, name := range append(without(), "perl-base") {
		if version, ok := versions[name]; ok {
			t.Errorf("the package %s %s is there", name, version)
		}
	}
	if list := string(i.tree.get(t, "var/lib/dpkg/info/git.list")); !strings.HasPrefix(list, "/usr/bin/git\n") {
		t.Errorf("git's files are told as\n%s", list)
	}
	if os := string(i.tree.get(t, "usr/lib/os-release")); !strings.Contains(os, "VERSION_ID=") {
		t.Errorf("the system does not tell its release: %s", os)
	}
}

// get returns the content of a file.
func (t tree) get(test *testing.T, name string) []byte {
	test.Helper()
	n := t[name]
	if n == nil {
		test.Fatalf("there is no %s", name)
	}
	return n.content
}
