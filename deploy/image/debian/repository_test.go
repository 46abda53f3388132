package debian

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// archive is a Debian archive in a folder, with packages that the test makes.
type archive struct {
	dir     string
	records strings.Builder
}

// newArchive skips the test where there are no tools of Debian.
func newArchive(t *testing.T) *archive {
	t.Helper()
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is needed: %v", program, err)
			}
			t.Skipf("skipped: %s is needed: %v", program, err)
		}
	}
	return &archive{dir: t.TempDir()}
}

// add makes a package of the files, each a path (with a slash at the end for a
// folder) and its content, "-> target" for a link.
func (a *archive) add(t *testing.T, name, version, relations string, files ...[2]string) {
	t.Helper()
	work := t.TempDir()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: A Person <a@example.org>\n%sDescription: made by a test\n", name, version, relations)
	write(t, filepath.Join(work, "control"), control)
	made := filepath.Join(work, "data.tar")
	write(t, made, string(data(t, files)))
	write(t, filepath.Join(work, "debian-binary"), "2.0\n")
	command(t, work, "tar", "-czf", "control.tar.gz", "./control")
	file := name + "_" + strings.ReplaceAll(version, ":", "%3a") + "_all.deb"
	deb := ar(t, work, "debian-binary", "control.tar.gz", "data.tar")
	write(t, filepath.Join(a.dir, file), string(deb))
	fmt.Fprintf(&a.records, "%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", control, file, len(deb), sha256.Sum256(deb))
	a.publish(t, "Debian")
}

// publish writes the lists as those of the distribution origin.
func (a *archive) publish(t *testing.T, origin string) {
	t.Helper()
	list := a.records.String()
	write(t, filepath.Join(a.dir, "Packages"), list)
	write(t, filepath.Join(a.dir, "Release"), fmt.Sprintf("Origin: %s\nLabel: %s\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n %x %d Packages\n", origin, origin, sha256.Sum256([]byte(list)), len(list)))
}

// sources name the archive as one to copy from: of files on this machine apt
// only tells where they are.
func (a *archive) sources() string {
	return "Types: deb\nURIs: copy:" + a.dir + "\nSuites: ./\nTrusted: yes\n"
}

// data is a package's tree as root owns it, so that the test needs no root.
func data(t *testing.T, files [][2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		name, content := "./"+f[0], f[1]
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}
		target, link := strings.CutPrefix(content, "-> ")
		same, hard := strings.CutPrefix(content, "== ")
		switch {
		case strings.HasSuffix(name, "/"):
			h.Typeflag, h.Size = tar.TypeDir, 0
		case link:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		case hard:
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, "./"+same, 0
		case strings.Contains(name, "setuid"):
			h.Mode = 0o4755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// ar puts the members together as a .deb.
func ar(t *testing.T, dir string, members ...string) []byte {
	t.Helper()
	out := bytes.NewBufferString("!<arch>\n")
	for _, name := range members {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, 0, 0, 0, 0o100644, len(content))
		out.Write(content)
		if len(content)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}
